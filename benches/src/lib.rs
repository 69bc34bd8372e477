//! The programs that measure: see `src/bin/`. There is no library here.
