#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "admission/client_table.h"

namespace classgate::admission {

struct ClientState {
  std::uint64_t id = 0;  // 0: all that are not remembered, together
  ClientTable::Look now;
};

// Of all the clients that it is shown, the few that have most: workers, then places in the queue,
// then the tokens they have spent. Who has nothing of these is left out. Takes its memory at once.
class TopClients {
 public:
  explicit TopClients(std::size_t most) : most_(most) { clients_.reserve(most + 1); }
  void offer(const ClientState& client);
  // Who has most first.
  std::vector<ClientState> take();

 private:
  std::size_t most_;
  std::vector<ClientState> clients_;  // a heap, who has least first
};

}  // namespace classgate::admission
