//! Between shapes and codecs: `Value` is what a codec has read, `View` what it is to write.
//!
//! Codecs make values by the schema, so that a value always has the type its member asks for.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Shape, Timestamp};

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    String(String),
    /// Of `Integer` and `Long`.
    Integer(i64),
    /// Of `Float` and `Double`.
    Double(f64),
    Boolean(bool),
    /// Milliseconds since the epoch.
    Timestamp(i64),
    Blob(Bytes),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
    /// The members that are there, by index.
    Structure(Vec<(usize, Value)>),
}

#[derive(Clone, Copy)]
pub enum View<'a> {
    String(&'a str),
    Integer(i64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Timestamp(i64),
    Blob(&'a [u8]),
    List(&'a dyn Items),
    Map(&'a dyn Entries),
    Structure(&'a dyn Fields),
}

pub trait Items {
    fn count(&self) -> usize;
    fn at(&self, index: usize) -> View<'_>;
}

pub trait Entries {
    fn count(&self) -> usize;
    fn each(&self, visit: &mut dyn FnMut(&str, View<'_>));
}

pub trait Fields {
    fn field(&self, member: usize) -> Option<View<'_>>;
}

impl<S: Shape> Fields for S {
    fn field(&self, member: usize) -> Option<View<'_>> {
        self.get(member)
    }
}

/// A type that members may have.
pub trait Data: Sized {
    fn from_value(value: Value) -> Self;
    /// `None`: absent.
    fn view(&self) -> Option<View<'_>>;
}

pub fn from<T: Data>(value: Value) -> T {
    T::from_value(value)
}

pub fn view<T: Data>(data: &T) -> Option<View<'_>> {
    data.view()
}

/// The typed form of a structure's value.
pub fn shape<S: Shape>(value: Value) -> S {
    let mut shape = S::default();
    let Value::Structure(members) = value else { mistyped(&value) };
    for (member, value) in members {
        shape.set(member, value);
    }
    shape
}

#[cold]
fn mistyped(value: &Value) -> ! {
    unreachable!("the schema asks for another type than {value:?}")
}

macro_rules! plain {
    ($ty:ty, $value:pat => $from:expr, $this:ident => $view:expr) => {
        impl Data for $ty {
            fn from_value(value: Value) -> $ty {
                match value {
                    $value => $from,
                    other => mistyped(&other),
                }
            }
            fn view(&self) -> Option<View<'_>> {
                let $this = self;
                Some($view)
            }
        }
    };
}

plain!(String, Value::String(s) => s, this => View::String(this));
plain!(i32, Value::Integer(n) => n as i32, this => View::Integer(i64::from(*this)));
plain!(i64, Value::Integer(n) => n, this => View::Integer(*this));
plain!(f32, Value::Double(n) => n as f32, this => View::Float(*this));
plain!(f64, Value::Double(n) => n, this => View::Double(*this));
plain!(bool, Value::Boolean(b) => b, this => View::Boolean(*this));
plain!(Timestamp, Value::Timestamp(ms) => Timestamp(ms), this => View::Timestamp(this.0));
plain!(Bytes, Value::Blob(bytes) => bytes, this => View::Blob(this));

impl<T: Data> Data for Option<T> {
    fn from_value(value: Value) -> Self {
        Some(T::from_value(value))
    }
    fn view(&self) -> Option<View<'_>> {
        self.as_ref().and_then(T::view)
    }
}

impl<T: Data> Data for Box<T> {
    fn from_value(value: Value) -> Self {
        Box::new(T::from_value(value))
    }
    fn view(&self) -> Option<View<'_>> {
        T::view(self)
    }
}

impl<T: Data> Data for Vec<T> {
    fn from_value(value: Value) -> Self {
        match value {
            Value::List(items) => items.into_iter().map(T::from_value).collect(),
            other => mistyped(&other),
        }
    }
    fn view(&self) -> Option<View<'_>> {
        Some(View::List(self))
    }
}

impl<T: Data> Items for Vec<T> {
    fn count(&self) -> usize {
        self.len()
    }
    fn at(&self, index: usize) -> View<'_> {
        self[index].view().expect("items are never optional")
    }
}

impl<T: Data> Data for BTreeMap<String, T> {
    fn from_value(value: Value) -> Self {
        match value {
            Value::Map(entries) => {
                entries.into_iter().map(|(key, value)| (key, T::from_value(value))).collect()
            }
            other => mistyped(&other),
        }
    }
    fn view(&self) -> Option<View<'_>> {
        Some(View::Map(self))
    }
}

impl<T: Data> Entries for BTreeMap<String, T> {
    fn count(&self) -> usize {
        self.len()
    }
    fn each(&self, visit: &mut dyn FnMut(&str, View<'_>)) {
        for (key, value) in self {
            visit(key, value.view().expect("values are never optional"));
        }
    }
}

/// Makes generated structures members of others.
macro_rules! impl_data {
    ($($shape:ident),* $(,)?) => {
        $(impl v::Data for $shape {
            fn from_value(value: v::Value) -> Self {
                v::shape(value)
            }
            fn view(&self) -> Option<v::View<'_>> {
                Some(v::View::Structure(self))
            }
        })*
    };
}
pub(crate) use impl_data;
