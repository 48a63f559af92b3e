#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/ops/operator_server.h"

namespace classgate::gateway {

// Where operators ask and order: a table of what there is, who may have it, and who sees to it.
// Each answers now or later, exactly once. On the main thread.
class Desk {
 public:
  using Request = OperatorServer::Request;
  using Reply = OperatorServer::Reply;
  using Responder = OperatorServer::Responder;
  using Handler = std::function<void(const Request&, const Responder&)>;
  // local: by the control socket, which is root's and the group's.
  enum class Who : std::uint8_t { anybody, local };

  // Asked with GET or HEAD; changes nothing.
  void add_page(std::string_view path, Who who, Handler handler) {
    entries_.push_back({"GET", path, who, std::move(handler)});
  }
  // Given with POST, locally.
  void add_order(std::string_view path, Handler handler) {
    entries_.push_back({"POST", path, Who::local, std::move(handler)});
  }
  // 404 and 405 say what there is, for the one who asks.
  void answer(const Request& request, const Responder& answer) const;

 private:
  struct Entry {
    std::string_view method;
    std::string_view path;
    Who who;
    Handler handler;
  };
  std::string contents(bool is_local) const;

  std::vector<Entry> entries_;
};

}  // namespace classgate::gateway
