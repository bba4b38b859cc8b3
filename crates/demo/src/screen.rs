//! What the person sees: a heading per act, one live line below it, facts as they come.

use std::io::{IsTerminal, Write};
use std::time::Instant;

pub struct Screen {
    terminal: bool,
    began: Instant,
    live: bool,
}

impl Screen {
    pub fn new() -> Screen {
        Screen { terminal: std::io::stdout().is_terminal(), began: Instant::now(), live: false }
    }

    pub fn heading(&mut self, text: &str) {
        self.clear();
        if self.terminal {
            println!("\n\x1b[1m{text}\x1b[0m");
        } else {
            println!("\n{text}");
        }
    }

    pub fn fact(&mut self, text: &str) {
        self.clear();
        let at = self.began.elapsed().as_secs_f64();
        if self.terminal {
            println!("  \x1b[2m{at:6.1} s\x1b[0m  {text}");
        } else {
            println!("  {at:6.1} s  {text}");
        }
    }

    /// Replaced by the next one; not shown when nobody watches.
    pub fn live(&mut self, text: &str) {
        if self.terminal {
            print!("\r\x1b[K  \x1b[36m{:6.1} s  {text}\x1b[0m", self.began.elapsed().as_secs_f64());
            let _ = std::io::stdout().flush();
            self.live = true;
        }
    }

    fn clear(&mut self) {
        if self.live {
            print!("\r\x1b[K");
            self.live = false;
        }
    }
}
