//! A web server for files of a folder that fails as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The connection is closed before an answer.
    Hang,
    /// A status and nothing else.
    Status(u16),
    /// The connection is cut after so many bytes of the body.
    Cut(usize),
    /// The body ends early and says so.
    Short(usize),
    /// Nothing more comes after so many bytes.
    Stall(usize),
    /// A pause before every 16 KiB.
    Slow(Duration),
    /// The whole file, whatever was asked for.
    NoRange,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) range: Option<Range<u64>>,
    pub(crate) fault: Fault,
}

type Faults = Box<dyn Fn(usize, &str) -> Fault + Send + Sync>;

struct Shared {
    root: PathBuf,
    faults: Faults,
    asked: Mutex<Vec<Asked>>,
    open: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
}

pub(crate) struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves a folder; `faults` says what becomes of the nth request, which is for a path.
    pub(crate) fn start(
        root: PathBuf,
        faults: impl Fn(usize, &str) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            root,
            faults: Box::new(faults),
            asked: Mutex::default(),
            open: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let inner = shared.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if inner.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, inner) = (stream.unwrap(), inner.clone());
                stream.set_nodelay(true).unwrap();
                inner.open.lock().unwrap().push(stream.try_clone().unwrap());
                // Clients go away in the middle of answers.
                std::thread::spawn(move || drop(serve(&stream, &inner)));
            }
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().unwrap().join();
    }
}

fn serve(stream: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut range = None;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(bytes) = line.strip_prefix("range: bytes=") {
                let (from, to) = bytes.split_once('-').unwrap();
                let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
                range = Some(from..to + 1);
            }
        }
        let mut words = first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let path = words
            .next()
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned();
        let fault = {
            let mut asked = shared.asked.lock().unwrap();
            let fault = (shared.faults)(asked.len(), &path);
            asked.push(Asked {
                method: method.clone(),
                path: path.clone(),
                range: range.clone(),
                fault,
            });
            fault
        };
        if !answer(stream, shared, &method, &path, range, fault)? {
            return stream.shutdown(Shutdown::Both);
        }
    }
}

/// Answers; false when the connection is to be closed.
fn answer(
    mut stream: &TcpStream,
    shared: &Shared,
    method: &str,
    path: &str,
    range: Option<Range<u64>>,
    fault: Fault,
) -> std::io::Result<bool> {
    let status = match (fault, std::fs::read(shared.root.join(path))) {
        (Fault::Hang, _) => return Ok(false),
        (Fault::Status(status), _) => Err(status),
        (_, Err(_)) => Err(404),
        (_, Ok(file)) => Ok(file),
    };
    let file = match status {
        Ok(file) => file,
        Err(status) => {
            write!(
                stream,
                "HTTP/1.1 {status} Told\r\nContent-Length: 4\r\n\r\nbody"
            )?;
            return Ok(true);
        }
    };
    let size = file.len() as u64;
    let range = range.filter(|_| fault != Fault::NoRange);
    let part = range.clone().unwrap_or(0..size);
    let part = part.start.min(size)..part.end.min(size);
    let body = &file[part.start as usize..part.end as usize];
    let (sent, announced) = match fault {
        Fault::Cut(most) | Fault::Stall(most) => (body.len().min(most), body.len()),
        Fault::Short(most) => (body.len().min(most), body.len().min(most)),
        _ => (body.len(), body.len()),
    };
    let kind = if range.is_some() {
        "206 Part"
    } else {
        "200 OK"
    };
    write!(stream, "HTTP/1.1 {kind}\r\nContent-Length: {announced}\r\n")?;
    write!(
        stream,
        "Last-Modified: Tue, 24 Nov 2026 20:00:00 GMT\r\nETag: \"{size}\"\r\n"
    )?;
    if range.is_some() {
        let (from, to) = (part.start, part.end.max(1) - 1);
        write!(stream, "Content-Range: bytes {from}-{to}/{size}\r\n")?;
    }
    write!(stream, "\r\n")?;
    if method == "HEAD" {
        return Ok(true);
    }
    for piece in body[..sent].chunks(16 << 10) {
        if let Fault::Slow(pause) = fault {
            std::thread::sleep(pause);
        }
        stream.write_all(piece)?;
    }
    if let Fault::Stall(_) = fault {
        std::thread::sleep(Duration::from_millis(1500));
    }
    Ok(sent == body.len() || matches!(fault, Fault::Short(_)))
}
