//! Whether anybody may type on serial consoles: a setting of an account in a region, off at first as in
//! AWS. Reading a console is not its business.

use serde::{Deserialize, Serialize};
use store::{Snapshot, Tx};

use crate::Context;

/// Exists while access is enabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerialConsoleAccess {
    pub account: String,
    pub region: String,
}

impl store::Record for SerialConsoleAccess {
    const TABLE: &'static str = "ec2_serial_console_access";

    fn key(&self) -> String {
        format!("{}/{}/", self.account, self.region)
    }
}

pub fn is_enabled(snapshot: &Snapshot, cx: &Context) -> bool {
    snapshot.get::<SerialConsoleAccess>(&cx.prefix()).is_some()
}

pub fn set(tx: &mut Tx, cx: &Context, enabled: bool) {
    match enabled {
        true => {
            tx.put(SerialConsoleAccess { account: cx.account.clone(), region: cx.region.clone() })
        }
        false => drop(tx.delete::<SerialConsoleAccess>(&cx.prefix())),
    }
}
