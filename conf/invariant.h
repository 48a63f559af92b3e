#pragma once

#include <cstdio>
#include <cstdlib>

// An assertion that stays on in release builds: a broken invariant is our own mistake, and going on
// would make it somebody else's. Ends the process with a message.
#define CLASSGATE_INVARIANT(claim)                                                        \
  do {                                                                                    \
    if (!(claim)) [[unlikely]] {                                                          \
      std::fprintf(stderr, "classgate: broken invariant: %s (%s:%d)\n", #claim, __FILE__, \
                   __LINE__);                                                             \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)
