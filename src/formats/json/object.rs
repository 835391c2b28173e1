//! Objects: fields found by name and handed to the columns they belong to.
//!
//! A field belongs to the column of exactly its name; else to the one whose name is the same without regard to case, if only one is. An exact
//! field beats the others wherever it stands, so fields that match without case are remembered and read at the object's end.
//! Of several fields with one name the last counts (as for Postgres's jsonb); two names for one column are refused.
//!
//! Names seen are remembered (a bounded number), each with the one that followed it last time: records of one kind
//! cost one comparison a field.

use arrow::array::ArrayRef;
use hashbrown::HashMap;

use super::column::ColumnBuffer;
use super::reject::Reject;
use super::scan::Scanner;
use crate::error::{Error, Result, SqlState};
use crate::types::Type;

/// Names remembered for one object; a topic with more (keys that are data) pays a slower lookup.
const MAX_KNOWN_NAMES: usize = 4096;
const MAX_NAME_BYTES: usize = 256;

pub struct Object {
    fields: Vec<ObjectField>,
    names: Names,
    /// Fields of the current object that match a column without case: column, position of the value, name.
    deferred: Vec<(usize, usize, String)>,
    rows: usize,
}

struct ObjectField {
    name: String,
    column: ColumnBuffer,
}

/// What a field name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Column(usize),
    /// Matches without case only.
    Caseless(usize),
    Nothing,
}

impl Object {
    pub fn new<'a>(fields: impl Iterator<Item = (&'a str, &'a Type)>) -> Result<Object> {
        let fields: Vec<ObjectField> = fields
            .map(|(name, ty)| Ok(ObjectField { name: name.to_string(), column: ColumnBuffer::new(ty)? }))
            .collect::<Result<_>>()?;
        let names = Names::new(fields.iter().map(|field| field.name.as_str()));
        for (position, field) in fields.iter().enumerate() {
            if fields[..position].iter().any(|earlier| earlier.name == field.name) {
                let message = format!("field name \"{}\" specified more than once", field.name);
                return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
            }
        }
        Ok(Object { fields, names, deferred: Vec::new(), rows: 0 })
    }

    pub fn column(&self, field: usize) -> &ColumnBuffer {
        &self.fields[field].column
    }

    /// Bytes that a row of NULLs takes.
    pub fn width(&self) -> usize {
        self.fields.iter().map(|field| field.column.width()).sum()
    }

    pub fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        for field in &mut self.fields {
            field.column.truncate(rows);
        }
    }

    /// A row whose fields are all NULL.
    pub fn append_null(&mut self) {
        for field in &mut self.fields {
            field.column.append_null();
        }
        self.rows += 1;
    }

    /// Reads the object that comes next as one row. After an error the row is unfinished: truncate.
    pub fn read(&mut self, scan: &mut Scanner<'_>, scratch: &mut String, depth: u32) -> Result<(), Reject> {
        scan.deeper(depth)?;
        scan.expect(b'{', "\"{\"")?;
        self.deferred.clear();
        let row = self.rows;
        let mut previous = Names::START;
        let mut more = !scan.accept(b'}');
        while more {
            scan.field_name()?;
            let start = scan.position();
            let name = scan.string(scratch)?;
            let target = self.names.find(name, &mut previous);
            if let Target::Caseless(field) = target {
                let name = name.to_string();
                scan.expect(b':', "\":\"")?;
                self.deferred.push((field, scan.position(), name));
                scan.skip(depth + 1)?;
            } else {
                scan.expect(b':', "\":\"")?;
                match target {
                    Target::Column(field) => self.read_field(field, row, scan, scratch, depth)?,
                    _ => scan.skip(depth + 1)?,
                }
            }
            debug_assert!(scan.position() > start, "a field takes at least its name");
            more = !scan.accept(b'}');
            if more {
                scan.expect(b',', "\",\" or \"}\"")?;
            }
        }
        if !self.deferred.is_empty() {
            self.read_deferred(row, scan, scratch, depth)?;
        }
        for field in &mut self.fields {
            if field.column.len() == row {
                scan.grew_by(field.column.width())?;
                field.column.append_null();
            }
        }
        self.rows += 1;
        Ok(())
    }

    #[inline]
    fn read_field(
        &mut self,
        field: usize,
        row: usize,
        scan: &mut Scanner<'_>,
        scratch: &mut String,
        depth: u32,
    ) -> Result<(), Reject> {
        let ObjectField { name, column } = &mut self.fields[field];
        if column.len() > row {
            column.truncate(row);
        }
        column.read(scan, scratch, depth + 1).map_err(|reject| reject.within_field(name))
    }

    /// Fields that match without case, for columns that no field matched exactly.
    #[cold]
    fn read_deferred(
        &mut self,
        row: usize,
        scan: &mut Scanner<'_>,
        scratch: &mut String,
        depth: u32,
    ) -> Result<(), Reject> {
        let end = scan.position();
        let deferred = std::mem::take(&mut self.deferred);
        // Columns filled so far were filled by exact names. The others belong to the first name that matches, and to no other.
        let exact: Vec<bool> = self.fields.iter().map(|field| field.column.len() > row).collect();
        let mut names: Vec<Option<&str>> = vec![None; self.fields.len()];
        for (field, position, name) in &deferred {
            if exact[*field] {
                continue;
            }
            let first = *names[*field].get_or_insert(name);
            if first != name {
                let column = &self.fields[*field].name;
                let reason = format!("fields \"{first}\" and \"{name}\" both match column \"{column}\"");
                return Err(Reject::Record(reason));
            }
            scan.go_to(*position);
            self.read_field(*field, row, scan, scratch, depth)?;
        }
        scan.go_to(end);
        self.deferred = deferred;
        Ok(())
    }

    /// One array a field; the object is empty again.
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.fields.iter_mut().map(|field| field.column.finish()).collect()
    }

    pub fn bytes(&self) -> usize {
        self.fields.iter().map(|field| field.column.bytes()).sum::<usize>() + self.names.known.len() * 64
    }
}

/// Field names and what they stand for.
struct Names {
    known: Vec<Known>,
    by_name: HashMap<Box<str>, u32, foldhash::fast::FixedState>,
    /// Declared names in lower case.
    folded: Vec<String>,
}

struct Known {
    name: Box<str>,
    target: Target,
    /// The name that came after this one last time.
    next: u32,
}

impl Names {
    /// Stands for the opening brace: what follows it is the first field.
    const START: u32 = 0;

    fn new<'a>(declared: impl Iterator<Item = &'a str>) -> Names {
        let start = Known { name: "".into(), target: Target::Nothing, next: 1 };
        let mut names = Names { known: vec![start], by_name: HashMap::default(), folded: Vec::new() };
        for (position, name) in declared.enumerate() {
            names.folded.push(name.to_lowercase());
            let number = position as u32 + 1;
            names.known.push(Known { name: name.into(), target: Target::Column(position), next: number + 1 });
            names.by_name.insert(name.into(), number);
        }
        names
    }

    /// What this name stands for. `previous` is the name before it, and becomes this one.
    #[inline]
    fn find(&mut self, name: &str, previous: &mut u32) -> Target {
        let guess = self.known[*previous as usize].next;
        if let Some(known) = self.known.get(guess as usize)
            && &*known.name == name
            && guess != Self::START
        {
            *previous = guess;
            return known.target;
        }
        self.look_up(name, previous)
    }

    fn look_up(&mut self, name: &str, previous: &mut u32) -> Target {
        if let Some(number) = self.by_name.get(name) {
            self.known[*previous as usize].next = *number;
            *previous = *number;
            return self.known[*number as usize].target;
        }
        let target = self.without_case(name);
        if self.known.len() < MAX_KNOWN_NAMES && name.len() <= MAX_NAME_BYTES {
            let number = self.known.len() as u32;
            self.known.push(Known { name: name.into(), target, next: Self::START });
            self.by_name.insert(name.into(), number);
            self.known[*previous as usize].next = number;
            *previous = number;
        }
        target
    }

    fn without_case(&self, name: &str) -> Target {
        let folded = name.to_lowercase();
        let mut matching = self.folded.iter().enumerate().filter(|(_, declared)| **declared == folded);
        match (matching.next(), matching.next()) {
            (Some((position, _)), None) => Target::Caseless(position),
            _ => Target::Nothing,
        }
    }
}
