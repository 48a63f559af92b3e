#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/ops/operator_server.h"

namespace classgate::gateway {

inline constexpr std::string_view json_type = "application/json";

// Where operators ask and order: a table of what there is, who may have it, and who sees to it.
// Each answers now or later, exactly once. On the main thread.
class Desk {
 public:
  using Request = OperatorServer::Request;
  using Reply = OperatorServer::Reply;
  using Responder = OperatorServer::Responder;
  using Handler = std::function<void(const Request&, const Responder&)>;
  enum class Who : std::uint8_t {
    anybody,  // what monitoring asks
    visitor,  // of the page before he has logged in
    reader,   // of the page and the API
    changer,  // likewise, with a token
    local,    // by the control socket, which is root's and the group's
  };
  // Who sees to it that nobody has more than he may: what to say instead of an answer.
  using Guard = std::function<std::optional<Reply>(const Request&, Who)>;

  void set_guard(Guard guard) { guard_ = std::move(guard); }
  // Asked with GET or HEAD; changes nothing.
  void add_page(std::string_view path, Who who, Handler handler) {
    entries_.push_back({"GET", path, who, std::move(handler)});
  }
  // The same of what is answered at once.
  void add_page(std::string_view path, Who who, std::function<Reply(const Request&)> make) {
    add_page(path, who,
             Handler([make = std::move(make)](const Request& request, const Responder& answer) {
               answer(make(request));
             }));
  }
  // Given with POST, locally unless somebody else may.
  void add_order(std::string_view path, Handler handler) {
    add_order(path, Who::local, std::move(handler));
  }
  void add_order(std::string_view path, Who who, Handler handler) {
    entries_.push_back({"POST", path, who, std::move(handler)});
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
  Guard guard_;
};

}  // namespace classgate::gateway
