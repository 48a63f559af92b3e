#pragma once

#include <cstdint>

namespace classgate::gateway {

// SQLite maps the -shm file of a database (its wal-index). Whoever cuts that file short makes the
// next look at it a SIGBUS, which ends the process. A thread that works with databases calls this
// once: what it looks at and is gone reads as zeros from then on, which SQLite takes for an index
// that is to be made anew. Other threads, and other faults, end the process as before.
void survive_cut_files();

// How often that has happened, on any thread.
std::uint64_t cut_files_seen();

}  // namespace classgate::gateway
