//! Every record and bulk keyspace of the cloud. What is not listed here cannot be stored.

pub fn schema() -> store::Schema {
    store::Schema::new()
}
