//! A driver without compute: see the module docs once written.
