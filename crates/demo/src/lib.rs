//! The main job, shown: a stateless web tier over several zones that boots, serves, scales, loses an
//! instance, loses a zone, gets a new image, and loses nothing. Deployed with the public APIs only.

mod acts;
pub mod aws;
mod group;
mod load;
mod report;
mod screen;
mod tier;
mod web;

pub use acts::{Options, run};

/// When this program was started under the web application's name, it is the web application.
pub fn main_if_web() -> Option<std::process::ExitCode> {
    let name = std::env::args_os().next()?;
    let name = std::path::Path::new(&name).file_name()?;
    (name == web::PROGRAM).then(web::main)
}
