//! `tokenferry man`: the manual, a page a command, made of the same definitions as the help.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, USAGE, fail, out};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The command whose page is printed. Default: tokenferry itself.
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Write every page into this folder instead: tokenferry.1, tokenferry-run.1 and so on.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    out: Option<PathBuf>,
}

/// When what the pages say last changed. Not the day of the build, which would make each another one.
const EDITION: &str = "2026-11-25";

/// What the generator writes before each part: an apostrophe that no roff takes for a quote.
const PREAMBLE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Exit statuses, as every page has them.
const STATUSES: &[(&str, &str)] = &[
    ("0", "Done."),
    ("1", "Failed: the message on stderr says why."),
    ("2", "Wrong usage."),
    ("78", "The configuration is invalid (EX_CONFIG of sysexits.h). Each problem is told with its line and the mend."),
];

/// What the program takes from its environment, and which commands do; none named is all.
const VARIABLES: &[(&str, &[&str], &str)] = &[
    ("TOKENFERRY_CONFIG", READING, "The configuration file, where -c does not name one. Default: proxy.yaml."),
    (
        "TOKENFERRY_LOG",
        READING,
        "What is logged, in place of the configuration's log.level: a level (error, warn, info, debug, trace), or \
         targets as in info,hyper=debug. The target tokenferry::credential has a line for each change of a token.",
    ),
    (
        "TOKENFERRY_LOG_FORMAT",
        &["run", "demo"],
        "How it is logged, in place of log.format: text, or json for a JSON object a line.",
    ),
    (
        "TOKENFERRY_DUMPABLE",
        &[],
        "1 lets a debugger in, and core dumps be written, which may hold secrets. Else the process's memory and \
         environment are closed to all but root.",
    ),
    ("NO_COLOR", &[], "Where it is set and not empty, nothing is coloured. Else only what goes to a terminal is."),
    (
        "SSL_CERT_FILE, SSL_CERT_DIR",
        READING,
        "The root certificates to trust instead of the system's, where the configuration names no ca.",
    ),
    (
        "TOKENFERRY_ADMIN",
        ASKING,
        "The admin port's address, where the configuration that is running has another one than the file, or none \
         that can be read.",
    ),
    ("TOKENFERRY_ADMIN_TOKEN", ASKING, "The admin port's token, in place of the file's."),
    (
        "https_proxy, http_proxy, all_proxy, no_proxy",
        &["run", "check", "token"],
        "The egress proxy on the way to upstreams and token endpoints, where the configuration names none; also in \
         capitals, but for HTTP_PROXY. Never used for this machine itself.",
    ),
    ("LISTEN_FDS, LISTEN_PID", &["run"], "Sockets that the service manager passes, as sd_listen_fds(3) has it."),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        &["run"],
        "Where the service manager is told of readiness, reloads and the end, and how often that all is well, as \
         sd_notify(3) has it.",
    ),
];

/// The commands that read a configuration.
const READING: &[&str] = &["run", "check", "explain", "token", "config", "reload", "healthcheck"];

/// The commands that ask the running proxy.
const ASKING: &[&str] = &["reload", "healthcheck"];

/// Files, and which commands they concern; none named is all.
const FILES: &[(&str, &[&str], &str)] = &[
    (
        "proxy.yaml",
        READING,
        "The configuration. Variables are referred to as ${NAME}, files as ${file:/path}; relative paths are relative \
         to its folder. A file that it names is read again when it changes.",
    ),
    ("proxy.schema.json", &["schema"], "What the schema is usually called; the first line of proxy.yaml names it."),
];

/// Runs the command.
pub(super) fn man(args: &Args) -> ExitCode {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let wanted = args.command.as_deref();
    let page = match wanted {
        None => Some(&program),
        Some(name) => program.find_subcommand(name),
    };
    match (page, &args.out) {
        (None, _) => fail("there is no such command; `tokenferry help` lists them", USAGE),
        (Some(_), Some(folder)) => match write_all(&program, folder) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("cannot write to {}: {error}", folder.display()), 1),
        },
        (Some(command), None) => match page_of(&program, command) {
            Ok(page) => out::finish(&page, ExitCode::SUCCESS),
            Err(error) => fail(&format!("cannot write the page: {error}"), 1),
        },
    }
}

fn write_all(program: &Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for command in std::iter::once(program).chain(program.get_subcommands().filter(|command| !command.is_hide_set())) {
        std::fs::write(folder.join(format!("{}.1", title(command))), page_of(program, command)?)?;
    }
    Ok(())
}

/// `tokenferry-run`.
fn title(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page_of(program: &Command, command: &Command) -> io::Result<String> {
    // What these pages end with is not in the help's words.
    let bare = command.clone().after_help(None).after_long_help(None);
    let man = Man::new(bare)
        .title(title(command).to_uppercase())
        .date(EDITION)
        .source(concat!("tokenferry ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut page)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut page = once(&String::from_utf8_lossy(&page));
    let name = command.get_name();
    let here = |commands: &[&str]| commands.is_empty() || command.has_subcommands() || commands.contains(&name);
    examples(&mut page, command);
    list(&mut page, "EXIT STATUS", STATUSES.iter().copied());
    let concerned = |table: &'static [(&str, &[&str], &str)]| {
        let here = &here;
        table.iter().filter(move |(_, commands, _)| here(commands)).map(|(what, _, about)| (*what, *about))
    };
    list(&mut page, "ENVIRONMENT", concerned(VARIABLES));
    list(&mut page, "FILES", concerned(FILES));
    let pages: Vec<&str> = std::iter::once(program)
        .chain(program.get_subcommands())
        .filter(|other| !other.is_hide_set() && other.get_name() != name)
        .map(title)
        .collect();
    section(&mut page, "SEE ALSO");
    let all: Vec<String> = pages.iter().map(|page| format!("\\fB{}\\fR(1)", plain(page))).collect();
    page.push_str(&all.join(",\n"));
    page.push('\n');
    Ok(page)
}

/// The generator begins each part as if it were a page, and has empty lines where roff wants none.
fn once(page: &str) -> String {
    let bare = page.replace(PREAMBLE, "").replace(".br\n\n.br\n", ".sp\n");
    format!("{PREAMBLE}{bare}")
}

/// The help's examples, as they are typed.
fn examples(page: &mut String, command: &Command) {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let Some((_, lines)) = help.split_once("Examples:\n").or_else(|| help.split_once("Example:\n")) else { return };
    section(page, "EXAMPLES");
    page.push_str(".EX\n");
    for line in lines.lines() {
        page.push_str(&plain(line.strip_prefix("  ").unwrap_or(line)));
        page.push('\n');
    }
    page.push_str(".EE\n");
}

fn list<'t>(page: &mut String, heading: &str, entries: impl Iterator<Item = (&'t str, &'t str)>) {
    let mut entries = entries.peekable();
    if entries.peek().is_none() {
        return;
    }
    section(page, heading);
    for (what, about) in entries {
        // Writing to a String cannot fail.
        let _ = writeln!(page, ".TP\n\\fB{}\\fR\n{}", plain(what), plain(about));
    }
}

fn section(page: &mut String, heading: &str) {
    let _ = writeln!(page, ".SH \"{heading}\"");
}

/// Text that means nothing to roff: no escapes, no requests, and what is typed can be copied, also
/// hyphens and quotes.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
