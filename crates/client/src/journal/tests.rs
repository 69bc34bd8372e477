//! Tests of the journal: batches, failures, and what a task that is stopped leaves.
