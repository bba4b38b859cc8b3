//! A disk that is really full: a small tmpfs. Needs the right to mount; without it the test is
//! reported as ignored.

use std::ffi::CString;
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use store::{Batch, Error, Record, Schema, Store};

#[derive(serde::Serialize, serde::Deserialize)]
struct Note {
    id: u32,
}

impl Record for Note {
    const TABLE: &'static str = "notes";
    fn key(&self) -> String {
        format!("{:08}", self.id)
    }
}

struct Mounted(CString);

impl Mounted {
    fn tmpfs(dir: &Path) -> Option<Mounted> {
        let path = CString::new(dir.to_str()?).ok()?;
        let data = CString::new("size=48m").ok()?;
        // SAFETY: all pointers are to NUL-terminated strings that outlive the call.
        let mounted = unsafe {
            libc::mount(c"none".as_ptr(), path.as_ptr(), c"tmpfs".as_ptr(), 0, data.as_ptr().cast())
        };
        (mounted == 0).then_some(Mounted(path))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // SAFETY: a NUL-terminated string that outlives the call.
        unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_DETACH) };
    }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, Schema::new().record::<Note>().keyspace("pages")).unwrap()
}

async fn note(store: &Store, id: u32) -> Result<(), Error> {
    let written = store.write(|tx| {
        tx.put(Note { id });
        Ok(())
    });
    written.await
}

fn main() -> ExitCode {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mounted = Mounted::tmpfs(dir.path());
    if mounted.is_none() {
        eprintln!("ignored: mounting a tmpfs needs root");
    }
    let path = dir.path().to_owned();
    let test = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(refuses_writes_serves_reads_and_recovers(&path));
        Ok(())
    };
    let trial = Trial::test("a_full_disk_refuses_writes_serves_reads_and_recovers", test)
        .with_ignored_flag(mounted.is_none());
    let answer = libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code();
    drop(mounted);
    answer
}

async fn refuses_writes_serves_reads_and_recovers(dir: &Path) {
    let data = dir.join("data");
    let store = open(&data);
    note(&store, 0).await.unwrap();
    let filler = dir.join("filler");
    std::fs::write(&filler, vec![1; 16 << 20]).unwrap();

    let pages = store.keyspace("pages");
    let mut acknowledged = 0u32;
    loop {
        let mut batch = Batch::default();
        // Incompressible, so that it fills the disk.
        let mut state = u64::from(acknowledged) + 1;
        let page = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u8
        });
        batch.put(&pages, acknowledged.to_be_bytes(), page.take(300_000).collect::<Vec<u8>>());
        batch.put(&pages, [&b"n"[..], &acknowledged.to_be_bytes()].concat(), *b"here");
        if store.apply(batch).await.is_err() {
            break;
        }
        acknowledged += 1;
        assert!(acknowledged < 1000, "the disk does not fill up");
    }
    assert!(note(&store, 1).await.is_err());
    assert!(store.read().get::<Note>("00000001").is_none());
    assert_eq!(pages.get(&0u32.to_be_bytes()).unwrap().unwrap().len(), 300_000);
    let failed = [&b"n"[..], &acknowledged.to_be_bytes()].concat();
    assert_eq!(pages.get(&failed).unwrap(), None);

    std::fs::remove_file(&filler).unwrap();
    note(&store, 2).await.unwrap();
    assert_eq!(pages.get(&failed).unwrap(), None);
    drop((pages, store));
    let store = open(&data);
    let notes: Vec<u32> = store.read().scan::<Note>("").map(|note| note.id).collect();
    assert_eq!(notes, [0, 2]);
    let pages = store.keyspace("pages");
    assert_eq!(pages.get(&failed).unwrap(), None);
    for page in 0..acknowledged {
        assert_eq!(pages.get(&page.to_be_bytes()).unwrap().unwrap().len(), 300_000, "{page}");
    }
}
