//! What the daemon asks a shim to do besides watching: disks that come and go while the guest runs.
//! What may block is done by helpers, and answered when they are.

use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};

use super::disks::{self, Backed, Plugged};
use super::helper::Helper;
use super::shim::{Shim, ToDaemon};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    Plug(Backed),
    Unplug {
        name: String,
        force: bool,
    },
    /// The file of this disk has.
    Grown(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The guest or somebody else uses it.
    pub busy: bool,
    pub why: String,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal { busy: false, why: error.to_string() }
    }
}

/// What a helper was started for.
pub enum Errand {
    /// The guest shall see this disk.
    Plug { number: u64, plugged: Plugged },
    /// It shall no longer see it.
    Unplug { number: u64, name: String, claim: Option<File> },
}

fn busy(why: &str) -> Refusal {
    Refusal { busy: true, why: why.into() }
}

impl Shim {
    /// Answers now, or when a helper is done.
    pub fn answer_to(&mut self, number: u64, request: Request) {
        let answer = match request {
            Request::Plug(backed) => self.plug(number, &backed),
            Request::Unplug { name, force } => self.unplug(number, name, force),
            Request::Grown(name) => {
                let mut disks = self.disks.iter().filter(|plugged| plugged.disk.name == name);
                let grown = disks.try_for_each(|plugged| plugged.device.grown());
                grown.map(|()| true).map_err(Refusal::from)
            }
        };
        match answer {
            Ok(false) => {}
            Ok(true) => self.tell(&ToDaemon::Answer { number, answer: Ok(()) }),
            Err(why) => self.tell(&ToDaemon::Answer { number, answer: Err(why) }),
        }
    }

    /// Whether it is done already.
    fn plug(&mut self, number: u64, backed: &Backed) -> Result<bool, Refusal> {
        if self.on_errand(&backed.disk.name) {
            return Err(busy("it is being plugged or unplugged"));
        }
        let known = self.disks.iter_mut().find(|known| known.disk.name == backed.disk.name);
        if let Some(known) = known {
            known.limit(&backed.disk, &self.record)?;
            return Ok(true);
        }
        if self.disks.iter().any(|known| known.disk.device == backed.disk.device) {
            return Err(busy("another disk has that name in the guest"));
        }
        let plugged =
            Plugged::open(backed, &self.record)?.ok_or_else(|| busy("in use elsewhere"))?;
        let (tree, pid) = (plugged.tree()?, self.pid);
        let helper = Helper::start(|| disks::plug(pid, &tree, &backed.disk.device))?;
        self.helpers.push((helper, Errand::Plug { number, plugged }));
        Ok(false)
    }

    fn unplug(&mut self, number: u64, name: String, force: bool) -> Result<bool, Refusal> {
        if self.on_errand(&name) {
            return Err(busy("it is being plugged or unplugged"));
        }
        let known = self.disks.iter().find(|known| known.disk.name == name);
        let Some(Plugged { disk, device, .. }) = known else { return Ok(true) };
        // As long as it is held nothing of it is mounted.
        let claim = device.claim()?;
        if claim.is_none() && !force {
            return Err(busy("the guest has it mounted"));
        }
        let pid = self.pid;
        let helper = Helper::start(|| disks::unplug(pid, &disk.device, device.number, force))?;
        self.helpers.push((helper, Errand::Unplug { number, name, claim }));
        Ok(false)
    }

    fn on_errand(&self, disk: &str) -> bool {
        self.helpers.iter().any(|(_, errand)| match errand {
            Errand::Plug { plugged, .. } => plugged.disk.name == disk,
            Errand::Unplug { name, .. } => name == disk,
        })
    }

    pub fn returned(&mut self, result: io::Result<()>, errand: Errand) {
        let (number, result) = match errand {
            Errand::Plug { number, plugged } if result.is_ok() => {
                self.disks.push(plugged);
                (number, result)
            }
            Errand::Plug { number, plugged } => {
                let _ = plugged.cut(&self.record);
                (number, result)
            }
            Errand::Unplug { number, name, claim } => {
                drop(claim);
                let at = self.disks.iter().position(|known| known.disk.name == name);
                let cut = result.and_then(|()| match at {
                    Some(at) => self.disks.remove(at).cut(&self.record),
                    None => Ok(()),
                });
                (number, cut)
            }
        };
        let answer = result.map_err(Refusal::from);
        self.tell(&ToDaemon::Answer { number, answer });
    }
}
