//! Which trace a request belongs to: `traceparent`, by W3C Trace Context level 1.

use std::fmt;

use http::{HeaderMap, HeaderName};

use crate::model::write_hex;

/// The header that names a request's trace and the span before it.
pub static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What tracing systems of the way so far say to each other; worth nothing without a `traceparent`.
pub static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
pub const TRACEPARENT_LENGTH: usize = 55;

/// The one flag that level 1 knows.
const SAMPLED: u8 = 1;

/// 16 bytes that name a trace, of which one is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// 8 bytes that name a span in its trace, of which one is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

impl TraceId {
    /// Another one. It needs no cryptographic source, only to be unlike the others.
    pub fn new() -> Self {
        Self(fastrand::u128(1..))
    }

    /// In network order.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The half that samplers look at, which level 2 of the standard asks to be random.
    pub(super) fn low(self) -> u64 {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
        let low = self.0 as u64;
        low
    }
}

impl SpanId {
    /// Another one.
    pub fn new() -> Self {
        Self(fastrand::u64(1..))
    }

    /// In network order.
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl Default for TraceId {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for SpanId {
    fn default() -> Self {
        Self::new()
    }
}

/// 32 digits.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 16 digits.
impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in a trace: what a `traceparent` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span that what comes next is a child of.
    pub span: SpanId,
    /// Whether whoever began the trace has its spans recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// The context of these headers, which must name it once and as the standard says.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(&TRACEPARENT).iter();
        let only = all.next()?;
        if all.next().is_some() { None } else { Self::parse(only.as_bytes()) }
    }

    /// Reads the value of a `traceparent`. Of a version that is not known yet the beginning is read,
    /// which stays as it is (section 4.3 of the standard: "Versioning of traceparent").
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(TRACEPARENT_LENGTH)?;
        let (version, trace) = (digits(&known[..2])?, &known[3..35]);
        let (span, flags) = (&known[36..52], digits(&known[53..])?);
        if [2, 35, 52].iter().any(|dash| known[*dash] != b'-') {
            return None;
        }
        // 255 is no version, and version 0 has nothing behind its flags.
        let follows = version > 0 && version < 0xff && rest.first() == Some(&b'-');
        if version == 0xff || !(rest.is_empty() || follows) {
            return None;
        }
        let (trace, span) = (TraceId(digits(trace)?), SpanId(u64::try_from(digits(span)?).ok()?));
        if trace.0 == 0 || span.0 == 0 {
            return None;
        }
        Some(Self { trace, span, sampled: flags & u128::from(SAMPLED) != 0 })
    }

    /// A new trace, with the span that it begins with.
    pub fn begin(trace: TraceId, sampled: bool) -> Self {
        Self { trace, span: SpanId::new(), sampled }
    }

    /// The context below another span of the same trace.
    #[must_use]
    pub fn below(self, span: SpanId) -> Self {
        Self { span, ..self }
    }

    /// The value of a `traceparent`, by version 0.
    pub fn write(&self) -> [u8; TRACEPARENT_LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&mut text[3..35], &self.trace.to_bytes());
        write_hex(&mut text[36..52], &self.span.to_bytes());
        text[54] = b'0' + if self.sampled { SAMPLED } else { 0 };
        text
    }
}

/// Hexadecimal, in lower case only, as the standard wants it.
fn digits(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0_u128, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOUND: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_sound_traceparent_is_read_and_written_as_it_was() {
        let context = TraceContext::parse(SOUND.as_bytes()).unwrap();
        assert_eq!(context.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((context.span.to_string().as_str(), context.sampled), ("00f067aa0ba902b7", true));
        assert_eq!(context.write(), SOUND.as_bytes());
        let below = context.below(SpanId(1)).write();
        assert_eq!(&below, b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000001-01");
    }

    #[test]
    fn flags_that_are_not_known_are_neither_minded_nor_written() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("ff", true)] {
            let context = TraceContext::parse(SOUND.replace("-01", &format!("-{flags}")).as_bytes()).unwrap();
            assert_eq!(context.sampled, sampled, "{flags}");
            assert!(context.write().ends_with(if sampled { b"-01" } else { b"-00" }), "{flags}");
        }
    }

    #[test]
    fn what_the_standard_calls_invalid_is_no_context() {
        let zero_trace = SOUND.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32));
        let zero_span = SOUND.replace("00f067aa0ba902b7", &"0".repeat(16));
        for text in [
            "",
            "00",
            &zero_trace,
            &zero_span,
            &SOUND.replacen("00-", "ff-", 1),
            &SOUND.to_ascii_uppercase(),
            &SOUND.replace('-', "_"),
            &SOUND[..54],
            &format!("{SOUND}-"),
            &format!("{SOUND}0"),
            &format!(" {SOUND}"),
            &SOUND.replacen('4', "g", 1),
            &SOUND.replacen("00-", "0x-", 1),
            &SOUND.replacen("00-", "cc-", 1).replace("-01", "-01x"),
            &SOUND.replacen("-01", "-0+", 1),
        ] {
            assert_eq!(TraceContext::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn of_a_later_version_the_beginning_is_read() {
        let sound = TraceContext::parse(SOUND.as_bytes()).unwrap();
        for later in ["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &SOUND.replacen("00-", "01-", 1)] {
            for more in ["", "-", "-what the future will be like"] {
                assert_eq!(TraceContext::parse(format!("{later}{more}").as_bytes()), Some(sound), "{later}{more}");
            }
        }
    }

    #[test]
    fn two_of_them_are_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of(&headers), None);
        headers.append(&TRACEPARENT, SOUND.parse().unwrap());
        assert!(TraceContext::of(&headers).is_some());
        headers.append(&TRACEPARENT, SOUND.parse().unwrap());
        assert_eq!(TraceContext::of(&headers), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace in 1..=u128::MAX, span in 1..=u64::MAX, sampled: bool) {
            let context = TraceContext { trace: TraceId(trace), span: SpanId(span), sampled };
            let written = context.write();
            prop_assert_eq!(TraceContext::parse(&written), Some(context));
            let (trace_text, span_text) = (context.trace.to_string(), context.span.to_string());
            prop_assert_eq!(&written[3..35], trace_text.as_bytes());
            prop_assert_eq!(&written[36..52], span_text.as_bytes());
            prop_assert_eq!(u128::from(context.trace.low()), trace & u128::from(u64::MAX));
        }

        #[test]
        fn nothing_that_comes_is_fatal_and_what_is_taken_is_as_the_standard_says(
            text in prop_oneof![
                any::<Vec<u8>>(),
                "[0-9a-fA-F-]{50,60}".prop_map(String::into_bytes),
                "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[ -~]*)?".prop_map(String::into_bytes),
            ],
        ) {
            let form = regex::bytes::Regex::new("^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-(?s-u:.*))?$").unwrap();
            let taken = form.captures(&text).is_some_and(|found| {
                let zero = |part: &[u8]| part.iter().all(|digit| *digit == b'0');
                let later = &found[1] != b"00";
                &found[1] != b"ff" && !zero(&found[2]) && !zero(&found[3]) && (later || found.get(4).is_none())
            });
            prop_assert_eq!(TraceContext::parse(&text).is_some(), taken);
        }

        #[test]
        fn one_byte_that_is_another_is_another_context_or_none(at in 0..55_usize, byte: u8) {
            let mut text = SOUND.as_bytes().to_vec();
            prop_assume!(text[at] != byte);
            text[at] = byte;
            // The version says how to read it, and flags that are not known say nothing.
            if let Some(other) = TraceContext::parse(&text) {
                let same = other == TraceContext::parse(SOUND.as_bytes()).unwrap();
                prop_assert!(!same || !(2..53).contains(&at));
            }
        }
    }
}
