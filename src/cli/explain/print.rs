//! An account, as people and programs read it.

use std::fmt::Write;

use serde_json::{Value, json};

use super::account::{Account, Sent};
use super::back::{Back, Refused};
use crate::proxy::preview::{From, Removed};

/// For people.
pub(super) fn text(account: &Account) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{} {}", account.method, account.url);
    match &account.route {
        Some((name, place)) => drop(writeln!(text, "route: {name} ({place})")),
        None => text.push_str("route: none\n"),
    }
    let width = account.others.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    for (name, why) in &account.others {
        let _ = writeln!(text, "  not {name:width$}  {why}");
    }
    if let Some((_, sentence)) = &account.access {
        let _ = writeln!(text, "access: {sentence}");
    }
    if let Some(answer) = &account.answer {
        let code = answer.code.map(|code| format!(" {code}")).unwrap_or_default();
        let _ = writeln!(text, "answer: {}{code}: {}", answer.status, answer.detail);
    }
    if let Some(sent) = &account.sent {
        sending(&mut text, sent, !account.is_let_in());
    }
    for note in &account.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn sending(text: &mut String, sent: &Sent, refused: bool) {
    let would = if refused { "would be sent, if let in" } else { "sent" };
    let _ = writeln!(text, "{would}: {} {}", sent.method, sent.url);
    let lines: Vec<(String, String)> = sent
        .headers
        .iter()
        .map(|(name, value, from)| {
            let sign = if *from == From::Client { ' ' } else { '+' };
            let by = match from {
                From::Client => "",
                From::Route => "request_headers of the route",
                From::Token => sent.credential.as_deref().unwrap_or_default(),
                From::Proxy if is_unlike_any_other(name) => "the proxy; another for each request",
                From::Proxy => "the proxy",
            };
            (format!("  {sign} {name}: {value}"), by.to_owned())
        })
        .chain(sent.removed.iter().map(|(name, why)| (format!("  - {name}"), because(*why).to_owned())))
        .collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or_default().min(60);
    for (line, by) in lines {
        let line = if by.is_empty() { line } else { format!("{line:width$}  ({by})") };
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if let Some(body) = &sent.body {
        let _ = writeln!(text, "  body: {body}");
    }
    if let Some((proxy, by)) = &sent.proxy {
        let _ = writeln!(text, "through: the egress proxy {proxy} ({by})");
    }
    if let Some(credential) = &sent.credential {
        let _ = writeln!(text, "token: of {credential}, in {}", sent.places.join(", and in "));
    }
    if let Some(refused) = &sent.refused {
        let _ = writeln!(text, "refused: {}", refused.sign());
        for sentence in refused.consequences() {
            let _ = writeln!(text, "  {sentence}");
        }
    }
    came_back(text, &sent.back);
}

fn came_back(text: &mut String, back: &Back) {
    if !back.is_rewritten {
        text.push_str("back: Location, Content-Location and Set-Cookie as they come (`rewrite_response: false`)\n");
    } else if !back.mapped.is_empty() {
        text.push_str("back:\n");
    } else if !back.set.is_empty() || !back.removed.is_empty() {
        text.push_str("back: nothing that points into the upstream\n");
    }
    // Both are mapped alike.
    for (name, answered, seen) in back.mapped.iter().filter(|(name, ..)| name != "Content-Location") {
        let _ = writeln!(text, "    {name}: {answered}\n      becomes {seen}");
    }
    for (name, value) in &back.set {
        let _ = writeln!(text, "  + {name}: {value}  (response_headers of the route)");
    }
    for name in &back.removed {
        let _ = writeln!(text, "  - {name}  (response_headers of the route)");
    }
}

/// Headers whose value stands for one that is made.
fn is_unlike_any_other(name: &str) -> bool {
    ["X-Request-Id", "Traceparent"].contains(&name)
}

fn because(removed: Removed) -> &'static str {
    match removed {
        Removed::Key => "the API key for this proxy",
        Removed::Login => "the user or the token for this proxy",
        Removed::Token => "the client's own; the token goes there",
        Removed::Route => "request_headers of the route",
        Removed::Hop => "for this connection only",
        Removed::Claim => "a client's word about where it is, not believed",
        Removed::Own => "the proxy says it itself",
    }
}

/// For programs.
pub(super) fn json(account: &Account) -> Value {
    json!({
        "method": account.method,
        "url": account.url,
        "route": account.route.as_ref().map(|(name, _)| name),
        "others": account.others.iter().map(|(name, why)| json!({ "route": name, "why": why })).collect::<Vec<_>>(),
        "access": account.access.as_ref().map(|(admitted, why)| json!({ "admitted": admitted, "why": why })),
        "answer": account.answer.as_ref().map(|answer| json!({
            "status": answer.status, "code": answer.code, "detail": answer.detail,
        })),
        "sent": account.sent.as_ref().map(|sent| json!({
            "method": sent.method,
            "url": sent.url,
            "headers": sent.headers.iter().map(|(name, value, from)| json!({
                "name": name, "value": value, "from": word(*from),
            })).collect::<Vec<_>>(),
            "removed": sent.removed.iter().map(|(name, why)| json!({
                "name": name, "why": because(*why),
            })).collect::<Vec<_>>(),
            "egress_proxy": sent.proxy.as_ref().map(|(proxy, by)| json!({ "url": proxy, "from": by })),
            "body": sent.body,
            "credential": sent.credential,
            "token_in": sent.places,
            "refused": sent.refused.as_ref().map(refused_json),
            "back": back_json(&sent.back),
        })),
        "notes": account.notes,
    })
}

fn refused_json(refused: &Refused) -> Value {
    json!({
        "status": refused.statuses,
        "json": refused.json.as_ref().map(|(pointer, matches)| json!({ "pointer": pointer, "judged": matches })),
        "token_replaced": refused.is_replaced,
        "sent_again": refused.is_sent_again(),
        "kept_bytes": refused.kept.0,
        "kept_bytes_together": refused.kept.1,
        "why": refused.consequences(),
    })
}

fn back_json(back: &Back) -> Value {
    json!({
        "rewritten": back.is_rewritten,
        "mapped": back.mapped.iter().map(|(name, answered, seen)| json!({
            "name": name, "answered": answered, "seen": seen,
        })).collect::<Vec<_>>(),
        "set": back.set.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>(),
        "removed": back.removed,
    })
}

fn word(from: From) -> &'static str {
    match from {
        From::Client => "client",
        From::Route => "route",
        From::Token => "token",
        From::Proxy => "proxy",
    }
}
