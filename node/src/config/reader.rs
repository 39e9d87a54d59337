//! Reads the tables of a TOML document key by key, and notes what does not fit.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problems, nearest};
use super::size::{ByteSize, NotASize};

pub(super) type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// One table. Every key that is asked for is known; the others are reported by [`Reader::finish`].
pub(super) struct Reader<'a, 't> {
    /// As it is written, such as `[[pool]]`.
    title: Cow<'static, str>,
    /// Where it stands.
    pub(super) span: Span,
    entries: Vec<(Spanned<Cow<'t, str>>, Spanned<DeValue<'t>>)>,
    known: Vec<&'static str>,
    present: Vec<&'static str>,
    problems: &'a RefCell<Problems<'t>>,
}

impl<'a, 't> Reader<'a, 't> {
    pub(super) fn new(
        title: impl Into<Cow<'static, str>>,
        span: Span,
        table: DeTable<'t>,
        problems: &'a RefCell<Problems<'t>>,
    ) -> Self {
        Self {
            title: title.into(),
            span,
            entries: table.into_iter().collect(),
            known: Vec::new(),
            present: Vec::new(),
            problems,
        }
    }

    pub(super) fn error(&self, span: &Span, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.borrow_mut().error(span, message, remedy);
    }

    pub(super) fn warn(&self, span: &Span, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.borrow_mut().warn(span, message, remedy);
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(key);
        let index = self.entries.iter().position(|(name, _)| name.get_ref() == key)?;
        self.present.push(key);
        Some(self.entries.swap_remove(index).1)
    }

    /// Whether `key` was there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.present.contains(&key)
    }

    /// The value of `key` as `read` understands it. `None` if it is not there, or was reported.
    fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<Located<T>> {
        let value = self.take(key)?;
        let span = value.span();
        match read(value.get_ref()) {
            Ok(value) => Some(Located { value, span }),
            Err(reason) => {
                self.error(&span, format!("`{key}` in {}: {reason}", self.title), format!("give {expected}"));
                None
            }
        }
    }

    /// Reports `key` as missing if it is.
    pub(super) fn required<T>(&mut self, key: &'static str, example: &str, value: Option<T>) -> Option<T> {
        let misspelled = |name: &str| nearest(name, &[key]).is_some();
        let reported =
            self.present.contains(&key) || self.entries.iter().any(|(name, _)| misspelled(name.get_ref()));
        if value.is_none() && !reported {
            self.error(
                &self.span,
                format!("`{key}` is missing in {}", self.title),
                format!("add `{key} = {example}`"),
            );
        }
        value
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<Located<String>> {
        self.read(key, "a text in quotes", |value| Ok(text(value)?.to_owned()))
    }

    /// A text that `T` reads.
    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Option<Located<T>> {
        self.read(key, expected, |value| text(value)?.parse().map_err(|error: T::Err| error.to_string()))
    }

    /// A number of bytes, with a unit in quotes or without.
    pub(super) fn size(&mut self, key: &'static str) -> Option<Located<ByteSize>> {
        self.read(key, "a size such as \"64MiB\"", |value| match value {
            DeValue::Integer(_) => integer(value, &(0..=u64::MAX)).map(ByteSize),
            value => text(value)?.parse().map_err(|error: NotASize| error.to_string()),
        })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<Located<T>> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let expected = format!("one of `{}`", names.join("`, `"));
        self.read(key, &expected, |value| {
            let word = text(value)?;
            let found = words.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
            found.ok_or_else(|| match nearest(word, &names) {
                Some(near) => format!("`{word}` is not known; did you mean `{near}`?"),
                None => format!("`{word}` is not known"),
            })
        })
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<Located<bool>> {
        self.read(key, "`true` or `false`", |value| match value {
            DeValue::Boolean(value) => Ok(*value),
            other => Err(not("a boolean", other)),
        })
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<Located<u64>> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(key, &expected, |value| integer(value, &range))
    }

    pub(super) fn float(&mut self, key: &'static str, least: f64) -> Option<Located<f64>> {
        self.read(key, &format!("a number of at least {least}"), |value| {
            let number: f64 = match value {
                DeValue::Float(number) => number.as_str().parse().map_err(|_| "no number".to_owned())?,
                DeValue::Integer(number) => number.as_str().parse().map_err(|_| "no number".to_owned())?,
                other => return Err(not("a number", other)),
            };
            if number >= least && number.is_finite() {
                Ok(number)
            } else {
                Err(format!("{number} is out of range"))
            }
        })
    }

    /// A list of texts that `T` reads.
    pub(super) fn parsed_list<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        expected: &str,
    ) -> Option<Located<Vec<Located<T>>>> {
        self.list(key, expected, |value| text(value)?.parse().map_err(|error: T::Err| error.to_string()))
    }

    pub(super) fn integer_list(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<Located<Vec<Located<u64>>>> {
        self.list(key, "a list of whole numbers", |value| integer(value, &range))
    }

    fn list<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&DeValue<'t>) -> Result<T, String>,
    ) -> Option<Located<Vec<Located<T>>>> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Array(array) = value.into_inner() else {
            self.error(
                &span,
                format!("`{key}` in {}: it is no list", self.title),
                format!("give {expected} in [ ]"),
            );
            return None;
        };
        let mut items = Vec::new();
        for item in array {
            let span = item.span();
            match read(item.get_ref()) {
                Ok(value) => items.push(Located { value, span }),
                Err(reason) => {
                    self.error(
                        &span,
                        format!("`{key}` in {}: {reason}", self.title),
                        format!("give {expected}"),
                    );
                }
            }
        }
        Some(Located { value: items, span })
    }

    /// The table at `key`, written as `[key]`.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Reader<'a, 't>> {
        self.table_in("", key)
    }

    /// The table at `key` within `outer`, which ends with a dot, written as `[outer.key]`.
    pub(super) fn table_in(&mut self, outer: &str, key: &'static str) -> Option<Reader<'a, 't>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Reader::new(format!("[{outer}{key}]"), span, table, self.problems)),
            other => {
                self.error(
                    &span,
                    format!("`{key}`: {}", not("a table", &other)),
                    format!("write [{outer}{key}] and its keys below"),
                );
                None
            }
        }
    }

    /// The tables at `key`, each written as `[[title]]`.
    pub(super) fn tables(&mut self, key: &'static str, title: &'static str) -> Vec<Reader<'a, 't>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let span = value.span();
        let remedy = format!("write {title} and its keys below, once for each");
        let DeValue::Array(array) = value.into_inner() else {
            self.error(&span, format!("`{key}` in {} is no list of tables", self.title), remedy);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in array {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => tables.push(Reader::new(title, span, table, self.problems)),
                other => self.error(&span, format!("`{key}`: {}", not("a table", &other)), remedy.clone()),
            }
        }
        tables
    }

    /// [Finishes](Reader::finish), and then makes something of the values.
    pub(super) fn finish_with<T>(mut self, make: impl FnOnce(&Self) -> T) -> T {
        self.report_unknown();
        self.entries.clear();
        make(&self)
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn finish(self) {
        self.report_unknown();
    }

    fn report_unknown(&self) {
        for (name, _) in &self.entries {
            let (span, key) = (name.span(), name.get_ref());
            let remedy = match nearest(key, &self.known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.error(&span, format!("unknown key `{key}` in {}", self.title), remedy);
        }
    }
}

fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, String> {
    match value {
        DeValue::String(text) => Ok(text),
        other => Err(not("a text", other)),
    }
}

fn integer(value: &DeValue<'_>, range: &std::ops::RangeInclusive<u64>) -> Result<u64, String> {
    let DeValue::Integer(integer) = value else { return Err(not("a whole number", value)) };
    let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
    number.filter(|number| range.contains(number)).ok_or_else(|| format!("{integer} is out of range"))
}

fn not(expected: &str, value: &DeValue<'_>) -> String {
    let kind = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("it is {kind}, not {expected}")
}
