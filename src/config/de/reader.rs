//! The deserializer.

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, VariantAccess, Visitor};

use crate::config::de::Fault;
use crate::config::de::fault::one_of;
use crate::config::interpolate::MASK;
use crate::config::spot::Step;
use crate::config::tree::{Entry, Node, Value};
use crate::secret::Secret;

/// Which fields of a map are read; below it, all are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keep<'k> {
    /// Every one.
    All,
    /// Those of the list.
    Only(&'k [&'k str]),
    /// Those that are not of the list.
    Except(&'k [&'k str]),
    /// Those of the document that are not of the list and not free (`x-...`).
    Top(&'k [&'k str]),
}

impl Keep<'_> {
    fn takes(self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => list.contains(&key),
            Self::Except(list) => !list.contains(&key),
            Self::Top(list) => !list.contains(&key) && !key.starts_with("x-"),
        }
    }
}

/// Reads one node. What was taken out is not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'n> {
    node: &'n Node,
    keep: Keep<'n>,
}

impl<'n> Reader<'n> {
    pub(crate) fn new(node: &'n Node, keep: Keep<'n>) -> Self {
        Self { node, keep }
    }

    /// The text of a scalar that is nothing but a reference: it is read as its field's type.
    fn whole(&self) -> Option<&'n str> {
        match &self.node.value {
            Value::Resolved(resolved) if resolved.whole => Some(resolved.text.trim()),
            _ => None,
        }
    }

    fn mismatch(&self, expected: &dyn Expected) -> Fault {
        Fault::mismatch(expected, self.node.kind())
    }

    fn list<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::List(elements) => visitor.visit_seq(Elements { rest: elements.iter().enumerate() }),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn map<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), keep: self.keep, current: None }),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn number<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = match (&self.node.value, self.whole()) {
            (Value::Int(number, _), _) => Some(*number),
            (_, Some(text)) => text.parse().ok(),
            _ => None,
        };
        let Some(number) = number else { return self.float(visitor) };
        match (u64::try_from(number), i64::try_from(number)) {
            (Ok(number), _) => visitor.visit_u64(number),
            (_, Ok(number)) => visitor.visit_i64(number),
            _ => Err(Fault::told("the number is too large", "write a smaller one")),
        }
    }

    fn float<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = match (&self.node.value, self.whole()) {
            (Value::Float(number, _), _) => Some(*number),
            (_, Some(text)) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => visitor.visit_f64(number),
            None => Err(self.mismatch(&visitor)),
        }
    }

    fn text<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.text() {
            Some(MASK) => Err(Fault::told(
                "is the mask of `tokenferry config`, not a value",
                "write the value, or better ${NAME} or ${file:/path}",
            )),
            Some(text) => visitor.visit_borrowed_str(text),
            None => Err(self.mismatch(&visitor)),
        }
    }
}

macro_rules! like {
    ($how:ident: $($method:ident)*) => {$(
        fn $method<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.$how(visitor)
        }
    )*};
}

impl<'n> Deserializer<'n> for Reader<'n> {
    type Error = Fault;

    like!(number: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64);
    like!(text: deserialize_str deserialize_string deserialize_char deserialize_bytes deserialize_byte_buf
        deserialize_identifier);
    like!(list: deserialize_seq);
    like!(map: deserialize_map);

    fn deserialize_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value, _) => visitor.visit_bool(*value),
            Value::Int(..) => self.number(visitor),
            Value::Float(value, _) => visitor.visit_f64(*value),
            Value::Text(_) | Value::Resolved(_) => self.text(visitor),
            Value::List(_) => self.list(visitor),
            Value::Map(_) => self.map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        match (&self.node.value, self.whole()) {
            (Value::Bool(value, _), _) => visitor.visit_bool(*value),
            (_, Some(text)) if text.eq_ignore_ascii_case("true") => visitor.visit_bool(true),
            (_, Some(text)) if text.eq_ignore_ascii_case("false") => visitor.visit_bool(false),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        // A reference that stands for nothing is read as the nothing that it would be if written.
        match (&self.node.value, self.whole()) {
            (Value::Null, _) | (_, Some("")) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            _ => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'n>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'n>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        if name == Secret::SERDE_NAME {
            self.node.secret.set(true);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'n>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'n>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.list(visitor)
    }

    fn deserialize_struct<V: Visitor<'n>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.map(visitor)
    }

    fn deserialize_enum<V: Visitor<'n>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Some(name) = self.node.text() {
            return visitor.visit_enum(StrDeserializer::new(name));
        }
        match self.node.entries() {
            [entry] => visitor.visit_enum(Variant { entry }),
            _ => Err(Fault::told(
                format!("must be {}, not {}", one_of(variants), self.node.kind()),
                "write one of them".to_owned(),
            )),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'n>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

struct Elements<'n> {
    rest: std::iter::Enumerate<std::slice::Iter<'n, Node>>,
}

impl<'n> SeqAccess<'n> for Elements<'n> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'n>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        match self.rest.find(|(_, node)| !node.out.get()) {
            None => Ok(None),
            Some((index, node)) => seed
                .deserialize(Reader::new(node, Keep::All))
                .map(Some)
                .map_err(|fault| fault.below(Step::Index(index))),
        }
    }
}

struct Entries<'n> {
    rest: std::slice::Iter<'n, Entry>,
    keep: Keep<'n>,
    current: Option<&'n Entry>,
}

impl<'n> MapAccess<'n> for Entries<'n> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'n>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let keep = self.keep;
        match self.rest.find(|entry| !entry.node.out.get() && keep.takes(&entry.key)) {
            None => Ok(None),
            Some(entry) => {
                self.current = Some(entry);
                let key = BorrowedStrDeserializer::new(&entry.key);
                seed.deserialize(key).map(Some).map_err(|fault: Fault| fault.of_key(&entry.key))
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'n>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let entry = self.current.take().ok_or_else(|| Fault::told("a value has no key", ""))?;
        seed.deserialize(Reader::new(&entry.node, Keep::All)).map_err(|fault| fault.below(Step::Key(entry.key.clone())))
    }
}

struct Variant<'n> {
    entry: &'n Entry,
}

impl<'n> EnumAccess<'n> for Variant<'n> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'n>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let name = seed
            .deserialize(BorrowedStrDeserializer::new(&self.entry.key))
            .map_err(|fault: Fault| fault.of_key(&self.entry.key))?;
        Ok((name, self))
    }
}

impl<'n> Variant<'n> {
    fn inside<T>(&self, read: impl FnOnce(Reader<'n>) -> Result<T, Fault>) -> Result<T, Fault> {
        read(Reader::new(&self.entry.node, Keep::All)).map_err(|fault| fault.below(Step::Key(self.entry.key.clone())))
    }
}

impl<'n> VariantAccess<'n> for Variant<'n> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        self.inside(|reader| match reader.node.value {
            Value::Null => Ok(()),
            _ => Err(Fault::told("takes no value", "write the name alone")),
        })
    }

    fn newtype_variant_seed<T: DeserializeSeed<'n>>(self, seed: T) -> Result<T::Value, Fault> {
        self.inside(|reader| seed.deserialize(reader))
    }

    fn tuple_variant<V: Visitor<'n>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.inside(|reader| reader.list(visitor))
    }

    fn struct_variant<V: Visitor<'n>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.inside(|reader| reader.map(visitor))
    }
}
