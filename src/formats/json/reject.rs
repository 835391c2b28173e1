//! Why a record is not a row, as a sentence an analyst understands.

use super::scan::Malformed;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reject {
    /// The record as a whole is wrong.
    Record(String),
    /// The value at a path of field names and array positions is wrong.
    Value { path: String, what: String },
}

impl Reject {
    /// A value was wrong; its path is added on the way out.
    pub fn value(what: String) -> Reject {
        Reject::Value { path: String::new(), what }
    }

    pub fn within_field(self, name: &str) -> Reject {
        match self {
            Reject::Value { path, what } if path.is_empty() => Reject::Value { path: name.to_string(), what },
            Reject::Value { path, what } if path.starts_with('[') => {
                Reject::Value { path: format!("{name}{path}"), what }
            }
            Reject::Value { path, what } => Reject::Value { path: format!("{name}.{path}"), what },
            record => record,
        }
    }

    /// Array positions count from 1, as SQL's do.
    pub fn within_item(self, number: u64) -> Reject {
        match self {
            Reject::Value { path, what } if path.is_empty() || path.starts_with('[') => {
                Reject::Value { path: format!("[{number}]{path}"), what }
            }
            Reject::Value { path, what } => Reject::Value { path: format!("[{number}].{path}"), what },
            record => record,
        }
    }

    pub fn reason(self) -> String {
        match self {
            Reject::Record(reason) => reason,
            Reject::Value { path, what } => format!("field \"{path}\": {what}"),
        }
    }
}

impl From<Malformed> for Reject {
    fn from(malformed: Malformed) -> Reject {
        Reject::Record(malformed)
    }
}
