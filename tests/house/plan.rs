//! The floor plan, as the table in the docs of `src/lib.rs` draws it.

use std::collections::HashMap;

/// From this floor up the ground floor may be imported without being listed.
const GROUND_IS_EVERYONES_FROM: u8 = 3;

/// Which module stands on which floor, and what it may import.
pub(super) struct Plan {
    rooms: HashMap<String, Room>,
}

struct Room {
    floor: u8,
    /// Modules that it may import, each with the only files that may, where the table names some.
    imports: Vec<(String, Vec<String>)>,
    anything_below: bool,
    /// On its own floor.
    left_neighbours: Vec<String>,
    /// Who alone may import it, where the table says so.
    only_for: Option<Vec<String>>,
}

impl Plan {
    /// Reads the rows `//! | floor | modules | may import |`.
    pub(super) fn parse(lib: &str) -> Self {
        let rows: Vec<(u8, Vec<String>, &str)> = lib.lines().filter_map(row).collect();
        let known: Vec<&String> = rows.iter().flat_map(|(_, modules, _)| modules).collect();
        let mut rooms = HashMap::new();
        for (floor, modules, cell) in &rows {
            let (imports, only_for) = cell.split_once(';').unwrap_or((cell, ""));
            for (at, module) in modules.iter().enumerate() {
                let room = Room {
                    floor: *floor,
                    imports: listed(imports, &known),
                    anything_below: cell.contains("anything below"),
                    left_neighbours: if cell.contains("left") { modules[..at].to_vec() } else { Vec::new() },
                    only_for: only_for.contains("only").then(|| backticked(only_for)),
                };
                assert!(rooms.insert(module.clone(), room).is_none(), "{module} stands twice in the floor plan");
            }
        }
        assert!(rooms.len() > 10, "the floor plan was not found");
        Self { rooms }
    }

    /// The names of all modules.
    pub(super) fn modules(&self) -> Vec<String> {
        self.rooms.keys().cloned().collect()
    }

    /// Why the file at this place (below `src`) may not import this module; `None` where it may.
    pub(super) fn forbids(&self, place: &str, module: &str) -> Option<String> {
        let from = place.split(['/', '.']).next().unwrap_or(place);
        let Some(room) = self.rooms.get(from) else { return Some(format!("`{from}` has no floor")) };
        let Some(wanted) = self.rooms.get(module) else { return Some(format!("`{module}` has no floor")) };
        if from == module || room.left_neighbours.iter().any(|neighbour| neighbour == module) {
            return None;
        }
        if wanted.floor >= room.floor {
            return Some(format!("`{from}` (floor {}) names `{module}` (floor {})", room.floor, wanted.floor));
        }
        if wanted.only_for.as_ref().is_some_and(|only| !only.iter().any(|name| name == from)) {
            return Some(format!("`{module}` is not for `{from}`"));
        }
        let ground = wanted.floor == 0 && room.floor >= GROUND_IS_EVERYONES_FROM;
        if ground || room.anything_below {
            return None;
        }
        match room.imports.iter().find(|(name, _)| name == module) {
            None => Some(format!("`{from}` does not list `{module}`")),
            Some((_, files)) if files.is_empty() => None,
            Some((_, files)) => {
                let is_in = |file: &String| {
                    place == format!("{from}/{file}.rs") || place.starts_with(&format!("{from}/{file}/"))
                };
                let told = files.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(" and ");
                (!files.iter().any(is_in)).then(|| format!("only {told} of `{from}` may name `{module}`"))
            }
        }
    }

    /// Rows that list something that does not stand below them.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let upwards = |(name, room): (&String, &Room)| {
            let wrong = room.imports.iter().find(|(wanted, _)| self.rooms[wanted].floor >= room.floor)?;
            Some(format!("`{name}` lists `{}`, which does not stand below it", wrong.0))
        };
        self.rooms.iter().filter_map(upwards).collect()
    }
}

fn row(line: &str) -> Option<(u8, Vec<String>, &str)> {
    let mut cells = line.strip_prefix("//! |")?.split('|');
    let floor = cells.next()?.trim().parse().ok()?;
    Some((floor, backticked(cells.next()?), cells.next()?.trim()))
}

fn backticked(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The modules that a cell lists in words; `upstream (in `fetch` and `lane` only)` is for two files.
fn listed(cell: &str, known: &[&String]) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = cell;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let word = &rest[start..];
        let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(word.len());
        rest = &word[end..];
        if known.iter().any(|module| *module == &word[..end]) {
            let note = rest.trim_start().strip_prefix('(').and_then(|note| note.split(')').next()).unwrap_or("");
            let files = note.strip_prefix("in ").map(backticked).unwrap_or_default();
            found.push((word[..end].to_owned(), files));
        }
        // What stands in parentheses is about the module, not a list of modules.
        if let Some((_, after)) = rest.trim_start().strip_prefix('(').and_then(|note| note.split_once(')')) {
            rest = after;
        }
    }
    found
}
