#include "proxy/wire/begun_streams.h"

#include <doctest/doctest.h>

namespace classgate::proxy::wire {
namespace {

using Past = BegunStreams::Past;

TEST_CASE("begun streams: who has ended one is known, and which was passed over") {
  BegunStreams streams;
  CHECK(streams.past_of(1) == Past::unknown);  // it may come yet
  streams.begin(1);
  streams.begin(7);
  streams.end_by_client(1);
  CHECK(streams.past_of(1) == Past::ended_by_client);
  CHECK(streams.past_of(3) == Past::never_begun);
  CHECK(streams.past_of(7) == Past::unknown);
  CHECK(streams.past_of(9) == Past::unknown);
  streams.begin(3);  // begins nothing
  CHECK(streams.past_of(3) == Past::never_begun);
  streams.end_by_client(5);
  CHECK(streams.past_of(5) == Past::never_begun);
}

TEST_CASE("begun streams: of those long ago nothing is held against anybody") {
  BegunStreams streams;
  for (std::int32_t id = 1; id < 2001; id += 2) {
    streams.begin(id);
    streams.end_by_client(id);
  }
  CHECK(streams.past_of(1) == Past::unknown);
  CHECK(streams.past_of(1999) == Past::ended_by_client);
  CHECK(streams.past_of(2001) == Past::unknown);
  CHECK(streams.held_bytes() <= BegunStreams::most * 4);
}

}  // namespace
}  // namespace classgate::proxy::wire
