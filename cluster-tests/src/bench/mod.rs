//! What benchmarks have in common: rounds put together, a progress bar, tables, plots and where results go.
//!
//! | module | what it is |
//! |---|---|
//! | [`cpu_time`] | processor time of a process |
//! | [`machine`] | where it was measured, and when |
//! | [`plot`] | bar charts as SVG |
//! | [`progress`] | what a person sees while it takes long |
//! | [`report`] | what a benchmark found: printed, and kept |
//! | [`results`] | the head of a report, and its files |
//! | [`selection`] | which points are measured, and for how long |
//! | [`spread`] | the middle and the extremes of some rounds |
//! | [`table`] | tables as Markdown |
//! | [`twemproxy`] | the configuration of the proxy that others are compared with |

pub mod cpu_time;
pub mod machine;
pub mod plot;
pub mod progress;
pub mod report;
pub mod results;
pub mod selection;
pub mod spread;
pub mod table;
pub mod twemproxy;
