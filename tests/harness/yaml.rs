//! Configurations that most tests share.

/// The token of [`one_route`].
pub const TOKEN: &str = "T0K3N";

/// One route for everything, with a fixed token as `Authorization: Bearer`. `more` is further lines
/// of the route, each with its line break; the four spaces before them are put in.
pub fn one_route(upstream: &str, more: &str) -> String {
    routes(&format!("- name: only\n  upstream: {upstream}\n  credential: fixed\n{}", indented(more, 2)))
}

/// Routes as written, beside a credential `fixed` with a fixed token.
pub fn routes(list: &str) -> String {
    format!("credentials:\n  fixed: {{provider: static, token: {TOKEN}}}\nroutes:\n{}", indented(list, 2))
}

/// One route whose credential puts its fixed token into these places.
pub fn injecting(upstream: &str, inject: &str, more: &str) -> String {
    format!(
        "credentials:\n  fixed: {{provider: static, token: {TOKEN}, inject: {inject}}}\n\
         routes:\n  - name: only\n    upstream: {upstream}\n    credential: fixed\n{}",
        indented(more, 4)
    )
}

fn indented(text: &str, by: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        out.extend(std::iter::repeat_n(' ', by));
        out.push_str(line);
        out.push('\n');
    }
    out
}
