#pragma once

#include <array>
#include <string>
#include <string_view>

#include "admission/time.h"
#include "conf/settings.h"

namespace classgate::gateway {

// The gateway's own answers to requests it does not serve: application/problem+json (RFC 9457),
// prebuilt for each reason so that refusing costs a few appends. Immutable: any thread.
class Refusals {
 public:
  explicit Refusals(const conf::StatusTable& statuses);

  struct Facts {
    conf::Reason reason;
    admission::Duration retry_after{};  // zero: coming back makes no sense, nothing is said
    std::string_view request_id;        // empty: none yet
    std::string_view date;              // IMF-fixdate
    std::string_view allow;             // methods; for method_refused
    bool close = false;
    bool says_keep_alive = false;  // HTTP/1.0
    bool without_body = false;     // HEAD
  };
  void append(std::string& out, const Facts& facts) const;
  int status(conf::Reason reason) const { return statuses_[conf::index_of(reason)]; }

 private:
  struct Prebuilt {
    std::string head;  // status line to Content-Length
    std::string body;
  };
  conf::StatusTable statuses_;
  std::array<Prebuilt, conf::reason_count> prebuilt_;
};

// The phrase that goes with a status (RFC 9110 section 15); "Refused" for one we don't use.
std::string_view reason_phrase(int status);

}  // namespace classgate::gateway
