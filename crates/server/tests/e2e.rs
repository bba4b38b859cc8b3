//! End to end: stock AWS clients against the real program. Each `test_*` function in `e2e/*.py` is a
//! test with a cloud of its own; its parameter says which kind: `cloud` has real instances and needs
//! root, `api` has simulated ones; `@needs("nft")` above it names a program of the host that it uses.
//! The clients come from PyPI on the first run, into target/clients.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Failed, Trial};

/// Pinned: a new release must not break a run that was fine yesterday.
const CLIENTS: &[&str] = &["boto3==1.44.5", "awscli==1.46.3"];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test has processes of its own; more at once than cores only makes deadlines tight.
    arguments.test_threads.get_or_insert(2);
    libtest_mimic::run(&arguments, trials()).exit_code()
}

fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for file in scripts() {
        let script = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a test script can be read");
        let mut program = None;
        for line in text.lines() {
            if let Some(needed) = line.strip_prefix("@needs(\"") {
                program = needed.strip_suffix("\")");
            }
            let Some((name, parameters)) =
                line.strip_prefix("def test_").and_then(|rest| rest.split_once('('))
            else {
                continue;
            };
            let (script, function) = (script.clone(), format!("test_{name}"));
            let real = parameters.starts_with("cloud");
            let trial =
                Trial::test(format!("{script}::{name}"), move || run(&script, &function, real));
            let missing = program.take().filter(|program| !is_installed(program));
            trials.push(match missing {
                _ if real && !is_root() => {
                    trial.with_kind("needs root for real instances").with_ignored_flag(true)
                }
                Some(program) => {
                    trial.with_kind(format!("needs {program}")).with_ignored_flag(true)
                }
                None => trial,
            });
        }
    }
    trials
}

fn scripts() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory())
        .expect("the test scripts are there")
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "harness"))
        .collect();
    files.sort();
    files
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e")
}

fn run(script: &str, function: &str, real: bool) -> Result<(), Failed> {
    static CLIENT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let bin = CLIENT.get_or_init(clients).as_ref().map_err(Failed::from)?;
    let output = Command::new(bin.join("python"))
        .arg(directory().join("harness.py"))
        .args([script, function, if real { "namespace" } else { "fake" }])
        .env("DROVER", env!("CARGO_BIN_EXE_drover"))
        .env("PATH", path_with(bin))
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&text)).into())
}

fn path_with(bin: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(all).expect("no colons in the path of the target directory")
}

/// The directory with `python` and `aws`, made once for a set of pinned versions.
fn clients() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let marker = target.join("installed");
    let wanted = CLIENTS.join("\n");
    if std::fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(target.join("bin"));
    }
    let step = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{command:?}: {error}")),
    };
    step(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&target))?;
    step(
        Command::new(target.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(CLIENTS),
    )?;
    std::fs::write(&marker, wanted).map_err(|error| error.to_string())?;
    Ok(target.join("bin"))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions and cannot fail.
    unsafe { libc::geteuid() == 0 }
}
