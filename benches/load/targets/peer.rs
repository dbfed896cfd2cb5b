//! `--peer NAME=COMMAND,PORT`.

use std::str::FromStr;

/// Names that have a meaning already.
const TAKEN: [&str; 6] = ["direct", "haproxy", "nginx", "tokenferry", "tokenferry-1000", "url"];

/// Another proxy, and how to start it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    command: String,
    /// Where it listens; none where a free one is found for it.
    pub(crate) port: Option<u16>,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or("a peer is NAME=COMMAND,PORT")?;
        let (command, port) = rest.rsplit_once(',').ok_or("a peer is NAME=COMMAND,PORT: no comma before a port")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(format!("a peer's name is of letters, digits, -, _ and .: {name:?}"));
        }
        if TAKEN.contains(&name) {
            return Err(format!("{name} is measured anyway: take another name"));
        }
        if command.trim().is_empty() {
            return Err("a peer needs a command".into());
        }
        let port = match port.trim() {
            "{port}" => None,
            digits => match digits.parse::<u16>() {
                Ok(port @ 1..) => Some(port),
                _ => return Err(format!("behind the last comma stands a port, or {{port}}: {digits:?}")),
            },
        };
        Ok(Self { name: name.to_owned(), command: command.trim().to_owned(), port })
    }
}

impl Peer {
    /// The command, with what is written in braces filled in. What it does not know stays: shells have braces too.
    pub(crate) fn command(&self, values: &[(&str, &str)]) -> String {
        values
            .iter()
            .fold(self.command.clone(), |command, (name, value)| command.replace(&format!("{{{name}}}"), value))
    }
}
