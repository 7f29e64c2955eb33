//! Building blocks of screens. They know roles and rectangles; what is shown where, and in which order, is decided
//! elsewhere.

pub mod bar;
pub mod chart;
pub mod footer;
pub mod header;
pub mod hist;
pub mod overlay;
pub mod pen;
pub mod table;
pub mod tabs;
