//! Paths: which are refused, which route takes the others and what is forwarded, judged by a second
//! reading of the contract that shares no code with the first.

use std::sync::OnceLock;

use http::{HeaderMap, Method};
use regex::Regex;
use tokenferry::model::{BaseUrl, CanonicalPath, EncodedSlash, MatchSpec, PathPrefix, PathRule};
use tokenferry::route::{RequestLine, Rewrite, Table, Verdict};

/// Exact paths, expressions and prefixes, in the order in which they go; of prefixes the longest.
const EXACT: [&str; 2] = ["/health", "/a b"];
const REGEX: &str = "^/v[0-9]+/";
const PREFIXES: [&str; 7] = ["/a", "/a/b", "/a//c", "/caf\u{e9}", "/~u", "/x/%2F/y", "/p;q"];
/// Of the prefixes, the one that takes POST only.
const POST_ONLY: &str = "/a/b";
const BASE: &str = "/base";

/// The input is a raw path.
pub fn path(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let expected = read(raw);
    let strict = CanonicalPath::parse(raw, EncodedSlash::Refuse);
    let lenient = CanonicalPath::parse(raw, EncodedSlash::Allow);
    let Some(expected) = expected else {
        assert!(strict.is_err() && lenient.is_err(), "{raw:?} is taken");
        return;
    };
    let canonical = lenient.unwrap_or_else(|error| panic!("{raw:?}: {error}"));
    assert_eq!(canonical.as_str(), expected.text(), "{raw:?}");
    assert_eq!(strict.is_ok(), !expected.has_encoded_slash(), "{raw:?}");

    for method in [Method::GET, Method::POST] {
        let line = RequestLine { host: "", path: &canonical, method: &method, headers: &HeaderMap::new() };
        let found = table().0.find(line);
        let choice = expected.route(&method);
        assert_eq!(found, choice, "{method} {raw:?}");
        let verdicts = table().0.explain(line);
        let taken = verdicts.iter().position(|verdict| *verdict == Verdict::Taken);
        assert_eq!(taken, found, "{raw:?}: explain says something else");
        if let Some(route) = found {
            assert_forwarded(raw, route);
        }
    }
}

/// The routes, and what each does to paths.
fn table() -> &'static (Table, Vec<Rewrite>) {
    static TABLE: OnceLock<(Table, Vec<Rewrite>)> = OnceLock::new();
    TABLE.get_or_init(|| {
        let rules: Vec<PathRule> = EXACT
            .iter()
            .map(|path| PathRule::Exact(written(path)))
            .chain([PathRule::Regex(Regex::new(REGEX).unwrap())])
            .chain(PREFIXES.iter().map(|path| PathRule::Prefix(PathPrefix::parse(&written(path)).unwrap())))
            .collect();
        let base = BaseUrl::parse(&format!("https://up.example{BASE}")).unwrap();
        let rewrites = rules.iter().map(|rule| Rewrite::new(rule.clone(), true, base.clone())).collect();
        let spec = |path: PathRule| {
            let post = matches!(&path, PathRule::Prefix(prefix) if prefix.as_str() == POST_ONLY);
            MatchSpec { host: None, path, methods: post.then_some(Method::POST).into_iter().collect(), headers: vec![] }
        };
        (Table::new(rules.into_iter().map(spec).collect()), rewrites)
    })
}

/// A path of the table as a configuration has it.
fn written(path: &str) -> String {
    path.replace('\u{e9}', "%c3%a9").replace(' ', "%20")
}

/// A path as what it stands for: bytes, each with whether it was escaped.
struct Reading(Vec<(u8, bool)>);

/// Reads a path as the contract says; `None` for one that is refused.
fn read(raw: &str) -> Option<Reading> {
    let mut bytes = Vec::new();
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push((u8::from_str_radix(digits, 16).ok()?, true));
        } else if byte.is_ascii_graphic() && byte != b'#' && byte != b'?' {
            bytes.push((byte, false));
        } else {
            return None;
        }
    }
    let refused = |byte: u8| byte == b'\\' || byte == 0;
    if bytes.first() != Some(&(b'/', false)) || bytes.iter().any(|(byte, _)| refused(*byte)) {
        return None;
    }
    // A segment is whatever any server could take for one.
    let decoded: Vec<u8> = bytes.iter().map(|(byte, _)| *byte).collect();
    for segment in decoded.split(|byte| *byte == b'/') {
        let name: Vec<u8> = segment.iter().copied().take_while(|byte| *byte != b';').collect();
        if name == b"." || name == b".." {
            return None;
        }
    }
    Some(Reading(bytes))
}

impl Reading {
    fn has_encoded_slash(&self) -> bool {
        self.0.contains(&(b'/', true))
    }

    /// As paths are compared.
    fn text(&self) -> String {
        let spell = |(byte, escaped): &(u8, bool)| {
            let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
            if *escaped && !unreserved { format!("%{byte:02X}") } else { char::from(*byte).to_string() }
        };
        self.0.iter().map(spell).collect()
    }

    fn segments(&self) -> Vec<String> {
        self.text().split('/').map(str::to_owned).collect()
    }

    /// The place of the route that takes it.
    fn route(&self, method: &Method) -> Option<usize> {
        let canonical = |path: &str| read(&written(path)).unwrap();
        if let Some(place) = EXACT.iter().position(|path| canonical(path).text() == self.text()) {
            return Some(place);
        }
        let text = self.text();
        let digits = text.strip_prefix("/v").map_or("", |rest| rest.split('/').next().unwrap_or_default());
        let behind = text.get(2 + digits.len()..).unwrap_or_default();
        if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) && behind.starts_with('/') {
            return Some(EXACT.len());
        }
        let (place, _) = PREFIXES
            .iter()
            .enumerate()
            .filter(|(_, prefix)| self.segments().starts_with(&canonical(prefix).segments()))
            .filter(|(_, prefix)| **prefix != POST_ONLY || method == Method::POST)
            .max_by_key(|(_, prefix)| prefix.matches('/').count())?;
        Some(EXACT.len() + 1 + place)
    }
}

/// What is forwarded is what was matched, as it came, less the prefix.
fn assert_forwarded(raw: &str, route: usize) {
    let target = table().1[route].forward(raw);
    let prefix = route.checked_sub(EXACT.len() + 1).map(|place| PREFIXES[place]);
    let expected = match prefix {
        None if route < EXACT.len() => BASE.to_owned(),
        None => format!("{BASE}{raw}"),
        Some(prefix) => {
            let depth = prefix.matches('/').count();
            let slash = raw.match_indices('/').nth(depth).map(|(at, _)| at);
            format!("{BASE}{}", slash.map_or("", |at| &raw[at..]))
        }
    };
    assert_eq!(target, expected, "{raw:?}");
    assert!(read(&target).is_some(), "{raw:?} became {target:?}, which is refused");
}
