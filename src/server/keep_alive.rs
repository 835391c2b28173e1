//! Clients that are gone without a word: their machine or network is. The system is told to ask them now and then, and to give up
//! on one that does not answer; the session then ends like any whose client has left.

use std::os::fd::AsRawFd;

use libc::c_int;
use tokio::net::TcpStream;

use super::settings::ServerSettings;

/// Applies the settings to a connection. What is 0 stays as the system has it.
pub fn keep_alive(socket: &TcpStream, settings: &ServerSettings) {
    let value = |name: &str| c_int::try_from(settings.int(name)).unwrap_or(c_int::MAX);
    let options = [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, value("tcp_keepalives_idle")),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, value("tcp_keepalives_interval")),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, value("tcp_keepalives_count")),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, value("tcp_user_timeout")),
    ];
    for (level, option, value) in options.into_iter().filter(|(_, _, value)| *value > 0) {
        let size = size_of::<c_int>() as libc::socklen_t;
        // SAFETY: the socket is open, and each of these options takes an int.
        let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) };
        if set != 0 {
            let error = std::io::Error::last_os_error();
            tracing::warn!(%error, option, value, "a connection goes without this option of TCP");
        }
    }
}
