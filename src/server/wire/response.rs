//! Errors and notices as the client sees them: the fields S V C M D H W P s t c n of Postgres.

use crate::error::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Debug,
    Log,
    Info,
    Notice,
    Warning,
    Error,
    Fatal,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Debug => "DEBUG",
            Severity::Log => "LOG",
            Severity::Info => "INFO",
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }
}

/// Fields of an ErrorResponse or a NoticeResponse. The position counts characters from the start of what was sent.
pub fn fields(severity: Severity, error: &Error) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.name().to_string()),
        (b'V', severity.name().to_string()),
        (b'C', error.state().0.to_string()),
        (b'M', field(error.message())),
    ];
    if let Some(detail) = error.detail() {
        fields.push((b'D', field(detail)));
    }
    if let Some(hint) = error.hint() {
        fields.push((b'H', field(hint)));
    }
    if let Some(context) = error.context() {
        fields.push((b'W', field(context)));
    }
    if let Some(position) = error.position() {
        fields.push((b'P', position.to_string()));
    }
    let object = error.object();
    let names = [(b's', &object.schema), (b't', &object.table), (b'c', &object.column), (b'n', &object.constraint)];
    fields.extend(names.into_iter().filter_map(|(kind, name)| Some((kind, field(name.as_deref()?)))));
    fields
}

/// Text that ends at NUL on the wire can't hold one.
fn field(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
