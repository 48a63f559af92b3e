#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "gateway/policy.h"
#include "gateway/shared.h"

namespace classgate::gateway {

// A request that nobody has sent: its head as it would come over the wire, whoever wrote that.
struct Supposition {
  std::string_view head;
  conf::IpAddress sender;  // the other end of its connection
  // Of its client certificate, and what of it "tls:san" takes; empty: it has none.
  std::string_view tls_subject = {};
  std::string_view tls_san = {};
  const ClientIdentities::Listener* listener = nullptr;  // null: one that has nothing of its own
};

// What would become of it now, and why, as JSON. The same looks as Exchange::judge() takes, in the
// same order, and then what admission would say; nothing is charged, remembered or counted. The
// error is a line for whoever asks: the head is none, or more than one. Any thread.
std::expected<std::string, std::string> explain(const Supposition& request, const Shared& shared,
                                                const Policy& policy, admission::Time now);

}  // namespace classgate::gateway
