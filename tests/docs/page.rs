//! A page of the documentation: its headings, its links and its code blocks.

use std::path::{Path, PathBuf};

/// The top of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A code block.
#[derive(Clone, Debug)]
pub struct Block {
    /// The line of its first line of text.
    pub line: usize,
    /// The first word behind the fence.
    pub language: String,
    /// The words behind that.
    pub words: Vec<String>,
    pub text: String,
}

impl Block {
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|w| w == word)
    }

    /// What stands behind `NAME=`.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
    }
}

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its path from the top of the repository.
    pub name: String,
    pub text: String,
    pub blocks: Vec<Block>,
    /// What a link to a heading of it may name.
    pub anchors: Vec<String>,
    /// Line and target of each link.
    pub links: Vec<(usize, String)>,
}

impl Page {
    pub fn parse(name: &str, text: &str) -> Self {
        let mut page =
            Self { name: name.to_owned(), text: text.to_owned(), blocks: vec![], anchors: vec![], links: vec![] };
        let mut open: Option<(Block, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let fence = line.trim_start().starts_with("```");
            match open.take() {
                Some((block, indent)) if fence && line.trim() == "```" => {
                    drop(indent);
                    page.blocks.push(block);
                }
                Some((mut block, indent)) => {
                    block.text.push_str(line.strip_prefix(indent.as_str()).unwrap_or(line));
                    block.text.push('\n');
                    open = Some((block, indent));
                }
                None if fence => {
                    let (indent, info) = line.split_at(line.find('`').unwrap());
                    let mut words = info.trim_start_matches('`').split_whitespace().map(str::to_owned);
                    let language = words.next().unwrap_or_default();
                    let block = Block { line: number + 2, language, words: words.collect(), text: String::new() };
                    open = Some((block, indent.to_owned()));
                }
                None => page.prose(number + 1, line),
            }
        }
        assert!(open.is_none(), "{name}: a code block does not end");
        page
    }

    fn prose(&mut self, number: usize, line: &str) {
        if let Some(heading) = line.strip_prefix('#') {
            let anchor = slug(heading.trim_start_matches('#').trim());
            let before = self.anchors.iter().filter(|a| **a == anchor).count();
            self.anchors.push(if before == 0 { anchor } else { format!("{anchor}-{before}") });
        }
        let mut rest = line;
        while let Some(at) = rest.find("](") {
            rest = &rest[at + 2..];
            let end = rest.find(')').unwrap_or_else(|| panic!("{}:{number}: a link does not end", self.name));
            self.links.push((number, rest[..end].to_owned()));
        }
    }

    /// `docs/operations.md:17`
    pub fn at(&self, block: &Block) -> String {
        format!("{}:{}", self.name, block.line)
    }

    /// The blocks in this language.
    pub fn in_language<'p>(&'p self, language: &'p str) -> impl Iterator<Item = &'p Block> {
        self.blocks.iter().filter(move |b| b.language == language)
    }
}

/// The anchor of a heading, as GitHub makes it.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// README, the security policy and every page of `docs/`.
pub fn pages() -> Vec<Page> {
    let mut files = vec![PathBuf::from("README.md"), PathBuf::from("SECURITY.md")];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name();
        if Path::new(&name).extension().is_some_and(|e| e == "md") {
            files.push(Path::new("docs").join(name));
        }
    }
    files.sort();
    let read =
        |file: &PathBuf| Page::parse(file.to_str().unwrap(), &std::fs::read_to_string(root().join(file)).unwrap());
    files.iter().map(read).collect()
}

/// One page.
pub fn page(name: &str) -> Page {
    pages().into_iter().find(|page| page.name == name).unwrap_or_else(|| panic!("there is no {name}"))
}
