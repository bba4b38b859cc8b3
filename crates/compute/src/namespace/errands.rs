//! What the daemon asks a shim to do besides watching: disks that come and go while the guest runs.
//! What may block is done by helpers, and answered when they are.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::disks::{self, Backed, Plugged};
use super::guest_mount;
use super::helper::Helper;
use super::notify::{Call, Verdict};
use super::roots;
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
    /// The root shall hold still for a copy.
    Freeze {
        root: PathBuf,
        copy: PathBuf,
    },
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
    /// A disk is to be taken from under what is mounted of it.
    Unplug {
        number: u64,
        name: String,
    },
    Freeze {
        number: u64,
    },
    /// The guest waits for an answer, there.
    Call(Call, Rc<OwnedFd>),
}

fn busy(why: &str) -> Refusal {
    Refusal { busy: true, why: why.into() }
}

impl Shim {
    /// Answers now, or when a helper is done.
    pub fn answer_to(&mut self, number: u64, request: Request) {
        let answer = match request {
            Request::Plug(backed) => self.plug(&backed).map(|()| true),
            Request::Freeze { root, copy } => self.freeze(number, &root, &copy).map(|()| false),
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

    fn plug(&mut self, backed: &Backed) -> Result<(), Refusal> {
        if self.on_errand(&backed.disk.name) {
            return Err(busy("it is being unplugged"));
        }
        let known = self.disks.iter_mut().find(|known| known.disk.name == backed.disk.name);
        if let Some(known) = known {
            return Ok(known.limit(&backed.disk, &self.record)?);
        }
        if self.disks.iter().any(|known| known.disk.device == backed.disk.device) {
            return Err(busy("another disk has that name in the guest"));
        }
        let plugged = Plugged::open(backed, &self.record)?;
        let plugged = plugged.ok_or_else(|| busy("in use elsewhere"))?;
        if let Err(error) = plugged.place(self.dev.as_fd(), &self.record) {
            plugged.cut(&self.record)?;
            return Err(error.into());
        }
        self.disks.push(plugged);
        Ok(())
    }

    /// Whether it is done already.
    fn unplug(&mut self, number: u64, name: String, force: bool) -> Result<bool, Refusal> {
        if self.on_errand(&name) {
            return Err(busy("it is being unplugged"));
        }
        let known = self.disks.iter().find(|known| known.disk.name == name);
        let Some(plugged) = known else { return Ok(true) };
        // As long as it is held nothing of it is mounted.
        let claim = plugged.device.claim()?;
        if claim.is_none() && !force {
            return Err(busy("the guest has it mounted"));
        }
        plugged.remove(self.dev.as_fd())?;
        if claim.is_some() {
            drop(claim);
            self.cut(&name)?;
            return Ok(true);
        }
        let (init, device) = (self.pid, plugged.device.number);
        let helper = Helper::start(|| disks::unmount(init, device))?;
        self.helpers.push((helper, Errand::Unplug { number, name }));
        Ok(false)
    }

    fn freeze(&mut self, number: u64, root: &Path, copy: &Path) -> Result<(), Refusal> {
        let none = || Refusal::from(io::Error::other("its root has no size of its own"));
        let directory = self.root.as_ref().ok_or_else(none)?;
        let helper = Helper::start(|| roots::copy_still(directory, root, copy))?;
        self.helpers.push((helper, Errand::Freeze { number }));
        Ok(())
    }

    fn cut(&mut self, name: &str) -> io::Result<()> {
        match self.disks.iter().position(|known| known.disk.name == name) {
            Some(at) => self.disks.remove(at).cut(&self.record),
            None => Ok(()),
        }
    }

    /// A call of the guest's that its filter handed over.
    pub fn take_call(&mut self, listener: &Rc<OwnedFd>) {
        let call = match Call::receive(listener.as_fd()) {
            Ok(Some(call)) => call,
            Ok(None) => return,
            // Everybody under this filter is gone.
            Err(_) => return self.calls.retain(|known| !Rc::ptr_eq(known, listener)),
        };
        if self.disks.is_empty() {
            return call.answer(listener.as_fd(), &Verdict::Continue);
        }
        let known = |plugged: &Plugged| (plugged.device.rdev(), plugged.disk.device.clone());
        let disks: Vec<_> = self.disks.iter().map(known).collect();
        let instance = guest_mount::Instance { init: self.pid, disks: &disks };
        match Helper::start(|| guest_mount::serve(&call, listener.as_fd(), &instance)) {
            Ok(helper) => self.helpers.push((helper, Errand::Call(call, listener.clone()))),
            Err(error) => call.answer(listener.as_fd(), &Verdict::Answer(Err(error))),
        }
    }

    fn on_errand(&self, disk: &str) -> bool {
        let is = |errand: &Errand| matches!(errand, Errand::Unplug { name, .. } if name == disk);
        self.helpers.iter().any(|(_, errand)| is(errand))
    }

    pub fn returned(&mut self, result: io::Result<()>, errand: Errand) {
        match errand {
            // It has answered, unless it was killed.
            Errand::Call(call, listener) => {
                if let Err(error) = result {
                    call.answer(listener.as_fd(), &Verdict::Answer(Err(error)));
                }
            }
            Errand::Freeze { number } => {
                if let (Err(_), Some(directory)) = (&result, &self.root) {
                    roots::thaw(directory);
                }
                let answer = result.map_err(Refusal::from);
                self.tell(&ToDaemon::Answer { number, answer });
            }
            Errand::Unplug { number, name } => {
                let answer = result.and_then(|()| self.cut(&name)).map_err(Refusal::from);
                self.tell(&ToDaemon::Answer { number, answer });
            }
        }
    }
}
