#pragma once

// Until when a client wants its answer, as it says itself.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "proxy/wire/message.h"

namespace classgate::proxy::wire {

struct Deadline {
  enum class Form : std::uint8_t { prefer, grpc, plain };
  Form form = Form::plain;
  std::chrono::nanoseconds time{};  // from the end of the head
};

// From Prefer: wait=10 (RFC 7240 section 4.3; seconds), grpc-timeout: 500m (gRPC over HTTP/2: up to
// eight digits and one of HMSmun) and X-Request-Timeout: 500ms (or s; a bare number is seconds, as
// in Prefer and Retry-After). Also X-Stainless-Timeout and X-Stainless-Read-Timeout, which the
// libraries of OpenAI and Anthropic send: seconds, of which some cut off what is less than one, so
// that 0 is taken for one; what is left goes on as X-Request-Timeout. The shortest when there are
// several; what is none of these is no deadline; more than a day is a day.
std::optional<Deadline> deadline_of(const Head& request);

// The same request without it: `preferences` keeps the other preferences of its Prefer fields and
// must live as long.
Head without_deadline(const Head& request, std::string& preferences);

// The field that says how much is left of it, upwards to what the form can say.
void append_deadline(std::string& out, const Deadline& left);

}  // namespace classgate::proxy::wire
