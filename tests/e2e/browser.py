"""Debian's Chromium, driven by its own ChromeDriver: nothing is downloaded. What a test waits for has a deadline."""

import json
import shutil
import time

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

DEADLINE = 30
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--window-size=1280,900",
)

# Text on its ground, by the formula of WCAG 2: what stays below `least`.
CONTRAST = """
const least = arguments[0];
const parse = (text) => {
  const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
  return { r, g, b, a };
};
const over = (top, below) => ({
  r: top.r * top.a + below.r * (1 - top.a),
  g: top.g * top.a + below.g * (1 - top.a),
  b: top.b * top.a + below.b * (1 - top.a),
  a: 1,
});
const luminance = ({ r, g, b }) => {
  const linear = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
};
const ground = (node) => {
  if (!node) return { r: 255, g: 255, b: 255, a: 1 };
  const colour = parse(getComputedStyle(node).backgroundColor);
  return colour.a === 1 ? colour : over(colour, ground(node.parentElement));
};
const faint = [];
let read = 0;
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const text = walk.currentNode.textContent.trim();
  const node = walk.currentNode.parentElement;
  if (!text || !node.checkVisibility({ visibilityProperty: true })) continue;
  read += 1;
  const below = ground(node);
  const [a, b] = [luminance(over(parse(getComputedStyle(node).color), below)), luminance(below)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < least) faint.push(`${ratio.toFixed(2)} ${node.tagName} ${node.className} ${text.slice(0, 40)}`);
}
return [read, faint];
"""


def start(profile):
    """A browser of its own profile."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.fail("chromium and chromedriver are missing: run `make e2e-tools`")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(driver))


class Browser:
    """One window, and words for what a person does at it."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        self.driver.get(url)

    def clean(self):
        """As it was at the start; what the console said since the last time."""
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.get("about:blank")
        return self.driver.get_log("browser")

    def prefer(self, **features):
        """Media features, as `prefers_color_scheme="dark"`."""
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def resize(self, width, height=844):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector="body"):
        """What a person sees there, in one line."""
        return " ".join(self.find(selector).text.split())

    def row(self, table, name):
        """The row of this name: a credential's whole group of them, or a route's."""
        script = """
          const names = [...document.querySelectorAll(`#${arguments[0]} .name`)];
          const found = names.find((node) => node.textContent === arguments[1]);
          return found?.closest(arguments[0] === "credentials" ? "tbody" : "tr") ?? null;
        """
        return self.wait(lambda: self.run(script, table, name), f"a row {name} of {table}")

    def button(self, name):
        """The visible button of this accessible name."""
        buttons = [one for one in self.all("button") if one.is_displayed() and one.accessible_name == name]
        assert len(buttons) == 1, f"{len(buttons)} buttons are called {name}"
        return buttons[0]

    def press(self, *keys):
        """Keys, at whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def tab_to(self, name):
        """Goes on by Tab until the button of this name has the focus."""
        for _ in range(60):
            if self.driver.switch_to.active_element.accessible_name == name:
                return
            self.press(Keys.TAB)
        raise AssertionError(f"Tab does not reach {name}")

    def wait(self, condition, what):
        """What the condition gives, once that is true."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                if value := condition():
                    return value
            except StaleElementReferenceException:
                pass
            assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}\n{self.driver.title}\n{self.text()}"
            time.sleep(0.05)

    def wait_text(self, selector, *expected):
        """Waits until all of this is to be read there."""
        self.wait(lambda: all(text in self.text(selector) for text in expected), f"{expected} in {selector}")

    def faint(self, least=4.5):
        """Visible text that stands out too little from its ground."""
        read, faint = self.run(CONTRAST, least)
        assert read > 20, "the page shows next to nothing"
        return faint

    def wide(self):
        """How many pixels wide everything together is."""
        return self.run("return document.documentElement.scrollWidth")


def severe(log, provoked=()):
    """Console entries that tell of a fault, but for failed requests to what is provoked; for an assertion's message."""

    def is_fault(entry):
        expected = entry["source"] == "network" and any(part in entry["message"] for part in provoked)
        return entry["level"] == "SEVERE" and not expected

    return [json.dumps(entry) for entry in log if is_fault(entry)]
