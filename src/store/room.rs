//! How much room a disk has.

use std::ffi::CString;
use std::io::{Error, Result};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes free on the disk of this folder for whoever is not its administrator.
pub fn free(folder: &Path) -> Result<u64> {
    let folder = CString::new(folder.as_os_str().as_bytes())?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: a path that ends with 0 and a place for the answer, which is read only after success.
    match unsafe { libc::statvfs(folder.as_ptr(), answer.as_mut_ptr()) } {
        0 => {
            let answer = unsafe { answer.assume_init() };
            Ok(answer.f_bavail * answer.f_frsize)
        }
        _ => Err(Error::last_os_error()),
    }
}
