//! A real server for a test: the binary under test on free ports with a folder of its own, gone when the test is.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything here takes, even on a busy machine: only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub const BINARY: &str = env!("CARGO_BIN_EXE_riverrun");

/// A running server. Killed when it is dropped.
pub struct Server {
    setup: Setup,
    child: Child,
    log: Log,
    pub port: u16,
    pub http_port: u16,
}

/// How a server is started.
#[derive(Clone)]
struct Setup {
    folder: Arc<tempfile::TempDir>,
    /// A command that runs the server in surroundings of its own; mostly none.
    inside: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// What a server logs, line by line as it comes.
struct Log {
    text: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// What a killed server leaves behind, to be started again.
pub struct Remains(Setup);

impl Server {
    pub fn start() -> Server {
        Server::start_with(&[], &[])
    }

    /// With further arguments and environment variables.
    pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        Server::start_inside(&[], arguments, environment)
    }

    /// Run by another command.
    pub fn start_inside(inside: &[String], arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let setup = Setup {
            folder: Arc::new(tempfile::tempdir().expect("a temporary folder")),
            inside: inside.to_vec(),
            arguments: arguments.iter().map(|argument| argument.to_string()).collect(),
            environment: environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        };
        Server::launch(setup)
    }

    fn launch(setup: Setup) -> Server {
        Starting::new(setup).ready()
    }

    /// The folder the server runs in; its data is in `riverrun-data` there.
    pub fn folder(&self) -> &Path {
        self.setup.folder.path()
    }

    pub fn log(&self) -> String {
        self.log.so_far()
    }

    /// SIGKILL. Gives what is left, and all that was logged.
    pub fn kill(mut self) -> (Remains, String) {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server ends");
        let log = self.log.to_the_end();
        (Remains(self.setup.clone()), log)
    }

    /// SIGKILL, and a new start on the same folder.
    pub fn kill_and_restart(self) -> Server {
        self.kill().0.start()
    }

    /// SIGTERM, and a new start on the same folder.
    pub fn stop_and_restart(mut self) -> Server {
        let status = self.signal(libc::SIGTERM);
        assert!(status.success(), "the server ended with {status}:\n{}", self.log());
        Server::launch(self.setup.clone())
    }

    /// Sends a signal and waits for the end.
    pub fn signal(&mut self, signal: i32) -> ExitStatus {
        // SAFETY: kill(2) on a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
        wait(&mut self.child)
    }

    /// A client of the server, as user `postgres`.
    pub async fn connect(&self) -> tokio_postgres::Client {
        self.connect_with("").await
    }

    /// With further parameters, such as `options='-c statement_timeout=1s'`.
    pub async fn connect_with(&self, parameters: &str) -> tokio_postgres::Client {
        let config = format!("host=127.0.0.1 port={} user=postgres dbname=postgres {parameters}", self.port);
        let (client, connection) =
            tokio_postgres::connect(&config, tokio_postgres::NoTls).await.expect("the server takes a connection");
        tokio::spawn(connection);
        client
    }

    /// psql on this server; its output as one text, errors included.
    pub fn psql(&self, script: &str) -> String {
        let output = psql(self.port)
            .args(["-X", "-q", "-f", "-"])
            .env("PGOPTIONS", "-c client_min_messages=notice")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .and_then(|mut child| {
                use std::io::Write;
                child.stdin.take().unwrap().write_all(format!("\\set VERBOSITY default\n{script}\n").as_bytes())?;
                child.wait_with_output()
            })
            .expect("psql runs");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// A metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, metrics) = self.get("/metrics");
        let value =
            metrics.lines().find_map(|line| line.strip_prefix(name)?.trim_start_matches("{}").strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is missing in:\n{metrics}")).parse().expect("a number")
    }

    /// Bytes of memory that the process has now.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident set");
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().expect("its size in kB")
    }

    /// CPU time that the process has used, in hundredths of a second.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a running process");
        let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    /// The status of an HTTP answer and its body.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.http_port, path)
    }
}

impl Remains {
    /// With another value of an environment variable.
    pub fn with(mut self, name: &str, value: &str) -> Remains {
        self.0.environment.retain(|(other, _)| other != name);
        self.0.environment.push((name.to_string(), value.to_string()));
        self
    }

    pub fn start(self) -> Server {
        Server::launch(self.0)
    }

    /// Does not wait until it is ready.
    pub fn begin(&self) -> Starting {
        Starting::new(self.0.clone())
    }
}

/// A server that may not be ready yet.
pub struct Starting {
    setup: Setup,
    child: Option<Child>,
    log: Log,
}

impl Starting {
    fn new(setup: Setup) -> Starting {
        let (child, log) = setup.spawn();
        Starting { setup, child: Some(child), log }
    }

    /// Waits until its log is like this.
    pub fn until(&mut self, reached: impl Fn(&str) -> bool) {
        let began = Instant::now();
        while !reached(&self.log.so_far()) {
            let ended = self.child().try_wait().expect("the process can be waited for");
            assert!(ended.is_none(), "the server ended by itself and logged:\n{}", self.log.so_far());
            assert!(began.elapsed() < PATIENCE, "the server did not come so far; it logged:\n{}", self.log.so_far());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn log(&self) -> String {
        self.log.so_far()
    }

    /// The ports it answers on, as the log names them first of all.
    pub fn ports(&self) -> (u16, u16) {
        (self.log.port("listen="), self.log.port("http="))
    }

    pub fn ready(mut self) -> Server {
        let mut line = String::new();
        BufReader::new(self.child().stdout.take().unwrap()).read_line(&mut line).expect("the server's output");
        let said = ready_port(&line);
        let Some(port) = said else {
            panic!("the server did not become ready; it said {line:?} and logged:\n{}", self.log.so_far());
        };
        let http_port = self.log.port("http=");
        let log = Log { text: self.log.text.clone(), reader: self.log.reader.take() };
        Server { setup: self.setup.clone(), child: self.child.take().unwrap(), log, port, http_port }
    }

    /// SIGKILL. Gives all that was logged.
    pub fn kill(mut self) -> String {
        let child = self.child();
        child.kill().expect("the server can be killed");
        child.wait().expect("the server ends");
        self.log.to_the_end()
    }

    /// How it ends by itself, or by this signal first, and what it logged.
    pub fn end(mut self, signal: Option<i32>) -> (ExitStatus, String) {
        let child = self.child();
        if let Some(signal) = signal {
            // SAFETY: kill(2) on a child that has not been waited for.
            assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
        }
        let status = wait(child);
        (status, self.log.to_the_end())
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("the server is not ready yet")
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Setup {
    fn spawn(&self) -> (Child, Log) {
        let mut child = command_inside(&self.inside, self.folder.path())
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server binary starts");
        let text = Arc::new(Mutex::new(String::new()));
        let (stderr, lines) = (child.stderr.take().unwrap(), text.clone());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut text = lines.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        (child, Log { text, reader: Some(reader) })
    }
}

impl Log {
    fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// The port of an address in the line that is logged first.
    fn port(&self, name: &str) -> u16 {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let text = self.so_far();
            let address = text.split(name).nth(1).and_then(|rest| rest.split_whitespace().next());
            if let Some(port) = address.and_then(|address| address.rsplit(':').next()?.parse().ok()) {
                return port;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the log does not name {name}:\n{}", self.so_far());
    }

    /// For a process that has ended.
    fn to_the_end(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the log's reader");
        }
        self.so_far()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server on port {} ---\n{}", self.port, self.log());
        }
    }
}

/// The binary in a folder, on free ports, with nothing of the tester's own environment.
pub fn command(folder: &Path) -> Command {
    command_inside(&[], folder)
}

fn command_inside(inside: &[String], folder: &Path) -> Command {
    let mut command = match inside {
        [] => Command::new(BINARY),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(BINARY);
            command
        }
    };
    command.current_dir(folder).args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("RIVERRUN_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG");
    command
}

/// psql 15 on a port of this machine. Its absence is a failure that says what to install, not a skipped test.
fn psql(port: u16) -> Command {
    let found = Command::new("psql").arg("--version").output();
    assert!(found.is_ok(), "psql is needed for this test: apt-get install postgresql-client");
    let mut command = Command::new("psql");
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres", "postgres"]);
    command.env_remove("PGOPTIONS").env("PSQLRC", "/dev/null").env("PGCONNECT_TIMEOUT", "60");
    command
}

/// Waits for a process, but not for ever.
pub fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("the process can be waited for") {
            return status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("a process did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The port in `riverrun ready: psql -h 127.0.0.1 -p 7432 -U postgres postgres`.
pub fn ready_port(line: &str) -> Option<u16> {
    let words: Vec<&str> = line.strip_prefix("riverrun ready: psql ")?.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "-p")?;
    words.get(at + 1)?.parse().ok()
}

/// The status of an HTTP answer and its body.
pub fn get(port: u16, path: &str) -> (u16, String) {
    use std::io::Write;
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("the HTTP port is open");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).expect("an HTTP answer");
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_string()).unwrap_or_default())
}
