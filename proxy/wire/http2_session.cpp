// Longer than most: all that is said to nghttp2 and heard of it stands here, so that nobody else
// has to know it.

#include "proxy/wire/http2_session.h"

#include <malloc.h>
#include <nghttp2/nghttp2.h>

#include <array>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

#include "proxy/wire/fields.h"

namespace classgate::proxy::wire {
namespace {

constexpr std::uint32_t window_at_first = 65'535;  // RFC 9113 section 6.9.2

std::string_view text_of(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

// Names whose values hardly come twice, and would push out of the table what does: each would cost
// a look at all before it. Likewise what is secret: a connection may be many clients' (RFC 7541
// section 7.1.3).
bool is_not_for_table(std::string_view name) {
  switch (name.size()) {
    case 7: return equal_names(name, "api-key");
    case 9: return equal_names(name, "x-api-key") || equal_names(name, "ratelimit");
    case 10: return equal_names(name, "tracestate");
    case 11: return equal_names(name, "traceparent");
    case 12: return equal_names(name, "x-request-id") || equal_names(name, "grpc-timeout");
    case 13: return equal_names(name, "server-timing");
    case 15: return equal_names(name, "idempotency-key");
    default: return false;
  }
}

nghttp2_nv pair_of(const Http2Field& field) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
  };
  const bool is_unique = field.is_never_indexed || is_not_for_table(field.name);
  return {bytes(field.name), bytes(field.value), field.name.size(), field.value.size(),
          static_cast<std::uint8_t>(is_unique ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE)};
}

// nghttp2's form, on the stack for most answers.
class Pairs {
 public:
  explicit Pairs(std::span<const Http2Field> fields) : size_(fields.size()) {
    if (size_ > few_.size()) many_.resize(size_);
    nghttp2_nv* to = data();
    for (const Http2Field& field : fields) *to++ = pair_of(field);
  }
  nghttp2_nv* data() { return many_.empty() ? few_.data() : many_.data(); }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_;
  std::array<nghttp2_nv, 24> few_;
  std::vector<nghttp2_nv> many_;
};

}  // namespace

// What nghttp2 has asked for, as malloc knows it; and how far what comes has been cut into frames.
struct Http2Session::Memory {
  bool cuts = true;  // a server's clients may be anybody; a client has chosen its server
  Http2FrameCutter cutter{http2_preface.size()};
  std::size_t given_back = 0;  // bytes that were cut, and nghttp2 has not had
  std::size_t held = 0;
  nghttp2_mem functions{this, allocate, release, allocate_zeroes, change};

  static void* noted(void* memory, void* self) {
    static_cast<Memory*>(self)->held += ::malloc_usable_size(memory);
    return memory;
  }
  static void* allocate(std::size_t size, void* self) { return noted(std::malloc(size), self); }
  static void* allocate_zeroes(std::size_t count, std::size_t size, void* self) {
    return noted(std::calloc(count, size), self);
  }
  static void release(void* memory, void* self) {
    static_cast<Memory*>(self)->held -= ::malloc_usable_size(memory);
    std::free(memory);
  }
  static void* change(void* memory, std::size_t size, void* self) {
    const std::size_t before = ::malloc_usable_size(memory);
    void* const changed = std::realloc(memory, size);
    if (changed == nullptr) return nullptr;
    static_cast<Memory*>(self)->held -= before;
    return noted(changed, self);
  }
};

// No exception crosses them: it is kept, and the session fails.
struct Http2Session::Callbacks {
  template <typename Deed>
  static int guard(void* self, Deed deed) {
    auto& session = *static_cast<Http2Session*>(self);
    try {
      return deed(session);
    } catch (...) {
      session.thrown_ = std::current_exception();
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
  }
  static Stream* stream_of(nghttp2_session* session, std::int32_t id) {
    return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int on_begin_headers(nghttp2_session* raw, const nghttp2_frame* frame, void* self) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    return guard(self, [=](Http2Session& session) {
      const std::int32_t id = frame->hd.stream_id;
      Stream* const stream = session.handler_.begin_stream(id);
      if (stream == nullptr) {
        session.reset(id, Http2Error::refused_stream);
        return int{NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE};
      }
      session.must(nghttp2_session_set_stream_user_data(raw, id, stream));
      return 0;
    });
  }

  static int on_header(nghttp2_session* raw, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size,
                       std::uint8_t flags, void* self) {
    return guard(self, [=](Http2Session& session) {
      if (Stream* const stream = stream_of(raw, frame->hd.stream_id)) {
        const bool is_never_indexed = (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0;
        is_never_indexed
            ? stream->on_never_indexed_field(text_of(name, name_size), text_of(value, value_size))
            : stream->on_field(text_of(name, name_size), text_of(value, value_size));
      }
      // One frame may have 16,000 fields.
      return session.handler_.has_had_its_turn() ? int{NGHTTP2_ERR_PAUSE} : 0;
    });
  }

  // What nghttp2 would pass over in silence.
  static int on_invalid_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t*,
                               std::size_t, const std::uint8_t*, std::size_t, std::uint8_t, void*) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // a stream error: PROTOCOL_ERROR
  }

  static int on_data(nghttp2_session* raw, std::uint8_t, std::int32_t id, const std::uint8_t* bytes,
                     std::size_t size, void* self) {
    return guard(self, [=](Http2Session& session) {
      // Of one stream that is not read no other one has less.
      session.took_of_connection(size);
      if (Stream* const stream = stream_of(raw, id)) stream->on_body(text_of(bytes, size));
      return 0;
    });
  }

  static int on_frame(nghttp2_session* raw, const nghttp2_frame* frame, void* self) {
    return guard(self, [=](Http2Session& session) {
      const bool is_ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
      const bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
      switch (frame->hd.type) {
        case NGHTTP2_HEADERS:
          if (Stream* const stream = stream_of(raw, frame->hd.stream_id)) {
            stream->on_fields_end(is_end);
            if (is_end) stream->on_request_end();
          }
          break;
        case NGHTTP2_DATA:
          if (Stream* const stream = stream_of(raw, frame->hd.stream_id))
            is_end ? stream->on_request_end() : stream->on_body_part_end();
          break;
        case NGHTTP2_RST_STREAM: session.begun_.end_by_client(frame->hd.stream_id); break;
        case NGHTTP2_WINDOW_UPDATE:
          session.handler_.on_window_update(
              static_cast<std::uint32_t>(frame->window_update.window_size_increment));
          break;
        case NGHTTP2_PING:
          if (is_ack) session.handler_.on_ping_answered();
          break;
        case NGHTTP2_SETTINGS:
          if (!is_ack) session.handler_.on_settings();
          break;
        case NGHTTP2_GOAWAY:
          session.handler_.on_go_away(frame->goaway.last_stream_id,
                                      static_cast<Http2Error>(frame->goaway.error_code));
          break;
        default: break;
      }
      return 0;
    });
  }

  static int on_stream_close(nghttp2_session* raw, std::int32_t id, std::uint32_t error,
                             void* self) {
    return guard(self, [=](Http2Session& session) {
      if (nghttp2_session_get_stream_remote_close(raw, id) == 1) session.begun_.end_by_client(id);
      if (Stream* const stream = stream_of(raw, id)) {
        nghttp2_session_set_stream_user_data(raw, id, nullptr);
        stream->on_closed(static_cast<Http2Error>(error));
      }
      return 0;
    });
  }

  static int on_frame_sent(nghttp2_session* raw, const nghttp2_frame* frame, void* self) {
    return guard(self, [=](Http2Session& session) {
      if (frame->hd.type == NGHTTP2_RST_STREAM)
        session.handler_.on_reset_sent(static_cast<Http2Error>(frame->rst_stream.error_code));
      if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        if (Stream* const stream = stream_of(raw, frame->hd.stream_id)) stream->on_request_sent();
      const bool may_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
      if (!may_end || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
      if (Stream* const stream = stream_of(raw, frame->hd.stream_id)) stream->on_answer_sent();
      return 0;
    });
  }

  static ssize_t read_body(nghttp2_session* raw, std::int32_t id, std::uint8_t*, std::size_t most,
                           std::uint32_t* flags, nghttp2_data_source*, void* self) {
    Stream::Ready ready;
    const int result = guard(self, [&](Http2Session&) {
      Stream* const stream = stream_of(raw, id);
      if (stream == nullptr) return int{NGHTTP2_ERR_DEFERRED};
      ready = stream->ready(most);
      if (ready.waits_for_room) return int{NGHTTP2_ERR_PAUSE};
      return ready.size == 0 && !ready.is_all ? int{NGHTTP2_ERR_DEFERRED} : 0;
    });
    if (result != 0) return result;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (ready.is_all) *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (ready.has_trailers) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    return static_cast<ssize_t>(ready.size);
  }

  static int send_data(nghttp2_session* raw, nghttp2_frame* frame, const std::uint8_t* head,
                       std::size_t size, nghttp2_data_source*, void* self) {
    constexpr std::size_t frame_head = 9;  // RFC 9113 section 4.1; nothing is padded here
    return guard(self, [=](Http2Session&) {
      Stream* const stream = stream_of(raw, frame->hd.stream_id);
      if (stream == nullptr) return int{NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE};
      stream->put_frame(text_of(head, frame_head), size);
      return 0;
    });
  }

  static const nghttp2_session_callbacks* all() {
    static const nghttp2_session_callbacks* const made = [] {
      nghttp2_session_callbacks* table = nullptr;
      if (nghttp2_session_callbacks_new(&table) != 0) throw std::bad_alloc();
      nghttp2_session_callbacks_set_on_begin_headers_callback(table, on_begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(table, on_header);
      nghttp2_session_callbacks_set_on_invalid_header_callback(table, on_invalid_header);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, on_data);
      nghttp2_session_callbacks_set_on_frame_recv_callback(table, on_frame);
      nghttp2_session_callbacks_set_on_stream_close_callback(table, on_stream_close);
      nghttp2_session_callbacks_set_on_frame_send_callback(table, on_frame_sent);
      nghttp2_session_callbacks_set_send_data_callback(table, send_data);
      return table;
    }();
    return made;
  }
};

Http2Session::Http2Session(Handler& handler, const Http2Limits& limits, Http2Role role)
    : handler_(handler), memory_(std::make_unique<Memory>()) {
  nghttp2_option* options = nullptr;
  must(nghttp2_option_new(&options));
  const std::unique_ptr<nghttp2_option, decltype(&nghttp2_option_del)> owned(options,
                                                                             &nghttp2_option_del);
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_no_closed_streams(options, 1);
  nghttp2_option_set_max_outbound_ack(options, limits.acknowledgements);
  nghttp2_option_set_max_deflate_dynamic_table_size(options, 4096);
  // Whoever resets too much is ended by a budget of its own, in which all of that counts.
  constexpr std::uint64_t many = 1'000'000'000;
  nghttp2_option_set_stream_reset_rate_limit(options, many, many);
  constexpr std::size_t frame_bytes = 16 * 1024;
  nghttp2_option_set_max_continuations(options, 8 + 2 * limits.header_list_bytes / frame_bytes);
  const bool is_server = role == Http2Role::server;
  memory_->cuts = is_server;
  must((is_server ? nghttp2_session_server_new3 : nghttp2_session_client_new3)(
      &session_, Callbacks::all(), this, options, &memory_->functions));
  const std::array settings{
      is_server ? nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits.streams}
                : nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits.header_list_bytes},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
      nghttp2_settings_entry{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1}};
  const std::size_t count = settings.size() - (limits.takes_extended_connect ? 0 : 1);
  int result = nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), count);
  if (result == 0 && limits.connection_window > window_at_first)
    result = nghttp2_session_set_local_window_size(
        session_, NGHTTP2_FLAG_NONE, 0, static_cast<std::int32_t>(limits.connection_window));
  if (result == 0) return;
  nghttp2_session_del(std::exchange(session_, nullptr));
  must(result);
}

Http2Session::~Http2Session() { nghttp2_session_del(session_); }

// Only for want of memory: a stream that has gone meanwhile, or has an answer, is no mistake.
void Http2Session::must(int result) const {
  if (result == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
}

void Http2Session::rethrow() {
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
}

bool Http2Session::fail(long long result) {
  rethrow();
  if (result == NGHTTP2_ERR_NOMEM) throw std::bad_alloc();
  why_ = result == NGHTTP2_ERR_FLOODED ? Http2Error::enhance_your_calm : Http2Error::protocol_error;
  return false;
}

// What nghttp2 passes over: frames of streams that their client has ended, or never begun, and of
// PRIORITY that of none (RFC 9113 section 6.3) or which hangs on itself (RFC 7540 section 5.3.1).
Http2Error Http2Session::judge(const Http2FrameCutter::Head& head) {
  const auto type = static_cast<Http2FrameType>(head.type);
  if (type == Http2FrameType::priority)
    return head.stream == 0 || head.stream == head.depends_on ? Http2Error::protocol_error
                                                              : Http2Error::none;
  if (type != Http2FrameType::data && type != Http2FrameType::headers) return Http2Error::none;
  if (head.stream % 2 == 0 || nghttp2_session_find_stream(session_, head.stream) != nullptr)
    return Http2Error::none;
  const BegunStreams::Past past = begun_.past_of(head.stream);
  if (type == Http2FrameType::headers) begun_.begin(head.stream);
  switch (past) {
    case BegunStreams::Past::unknown: break;
    case BegunStreams::Past::ended_by_client: return Http2Error::stream_closed;
    case BegunStreams::Past::never_begun: return Http2Error::protocol_error;
  }
  return Http2Error::none;
}

bool Http2Session::begin_frame(const Http2FrameCutter::Head& head) {
  why_ = judge(head);
  if (why_ != Http2Error::none) return false;
  const auto type = static_cast<Http2FrameType>(head.type);
  const bool has_end = type == Http2FrameType::data || type == Http2FrameType::headers;
  const bool has_ack = type == Http2FrameType::settings || type == Http2FrameType::ping;
  handler_.on_frame({.type = type,
                     .is_ack = has_ack && (head.flags & NGHTTP2_FLAG_ACK) != 0,
                     .ends_stream = has_end && (head.flags & NGHTTP2_FLAG_END_STREAM) != 0,
                     .size = head.size});
  return true;
}

bool Http2Session::receive(std::string_view bytes) {
  return memory_->cuts ? receive_cut(bytes) : receive_whole(bytes);
}

bool Http2Session::receive_whole(std::string_view bytes) {
  const ssize_t used = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (used < 0) return fail(used);
  used_ = static_cast<std::size_t>(used);
  return true;
}

// nghttp2 stops within a frame when a field was one too many: what it has not had of that comes
// again, and is not cut again.
bool Http2Session::receive_cut(std::string_view bytes) {
  Http2FrameCutter& cutter = memory_->cutter;
  std::size_t& given_back = memory_->given_back;
  std::string_view left = bytes;
  const auto is_over = [&] {
    return given_back == 0 && cutter.is_between() && handler_.has_had_its_turn();
  };
  std::size_t unread = 0;
  while (!left.empty() && unread == 0 && !is_over()) {
    std::string_view part = left.substr(0, given_back);
    left.remove_prefix(part.size());
    given_back -= part.size();
    if (part.empty())
      part = cutter.next(left,
                         [this](const Http2FrameCutter::Head& head) { return begin_frame(head); });
    if (why_ != Http2Error::none) return false;
    const ssize_t used = nghttp2_session_mem_recv(
        session_, reinterpret_cast<const std::uint8_t*>(part.data()), part.size());
    if (used < 0) return fail(used);
    unread = part.size() - static_cast<std::size_t>(used);
    given_back += unread;
    left = bytes.substr(bytes.size() - left.size() - unread);
  }
  used_ = bytes.size() - left.size();
  return true;
}

bool Http2Session::next_output(std::string_view& bytes) {
  const std::uint8_t* at = nullptr;
  const ssize_t size = nghttp2_session_mem_send(session_, &at);
  bytes = size > 0 ? text_of(at, static_cast<std::size_t>(size)) : std::string_view();
  return size >= 0 || fail(size);
}

bool Http2Session::is_over() const {
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

void Http2Session::send_interim(Http2StreamId id, std::span<const Http2Field> fields) {
  Pairs pairs(fields);
  must(nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, id, nullptr, pairs.data(), pairs.size(),
                              nullptr));
}

void Http2Session::send_head(Http2StreamId id, std::span<const Http2Field> fields, bool has_body) {
  Pairs pairs(fields);
  const nghttp2_data_provider body{.source = {}, .read_callback = Callbacks::read_body};
  must(nghttp2_submit_response(session_, id, pairs.data(), pairs.size(),
                               has_body ? &body : nullptr));
}

void Http2Session::add_trailers(Http2StreamId id, std::span<const Http2Field> fields) {
  Pairs pairs(fields);
  must(nghttp2_submit_trailer(session_, id, pairs.data(), pairs.size()));
}

void Http2Session::resume(Http2StreamId id) { must(nghttp2_session_resume_data(session_, id)); }

void Http2Session::reset(Http2StreamId id, Http2Error error) {
  must(nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id,
                                 static_cast<std::uint32_t>(error)));
}

void Http2Session::took(Http2StreamId id, std::size_t size) {
  must(nghttp2_session_consume_stream(session_, id, size));
}

void Http2Session::took_of_connection(std::size_t size) {
  must(nghttp2_session_consume_connection(session_, size));
}

void Http2Session::share(Http2StreamId id) {
  const nghttp2_extpri shared{.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
  must(nghttp2_session_change_extpri_stream_priority(session_, id, &shared, 0));
}

bool Http2Session::is_window_closed(Http2StreamId id) const {
  return nghttp2_session_get_stream_remote_window_size(session_, id) <= 0 ||
         nghttp2_session_get_remote_window_size(session_) <= 0;
}

Http2StreamId Http2Session::send_request(std::span<const Http2Field> fields, bool has_body,
                                         Stream& stream) {
  Pairs pairs(fields);
  const nghttp2_data_provider body{.source = {}, .read_callback = Callbacks::read_body};
  const std::int32_t id = nghttp2_submit_request(session_, nullptr, pairs.data(), pairs.size(),
                                                 has_body ? &body : nullptr, &stream);
  must(id);
  return id > 0 ? id : 0;
}

std::uint32_t Http2Session::most_requests() const {
  return nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

void Http2Session::forget(Http2StreamId id) {
  nghttp2_session_set_stream_user_data(session_, id, nullptr);
}

void Http2Session::give_notice() { must(nghttp2_submit_shutdown_notice(session_)); }

void Http2Session::ping() { must(nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr)); }

void Http2Session::go_away(Http2Error error) {
  must(nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                             nghttp2_session_get_last_proc_stream_id(session_),
                             static_cast<std::uint32_t>(error), nullptr, 0));
}

std::size_t Http2Session::output_frames() const {
  return nghttp2_session_get_outbound_queue_size(session_);
}

std::size_t Http2Session::held_bytes() const {
  return sizeof(Memory) + memory_->held + begun_.held_bytes();
}

Http2Session::Goodbye Http2Session::goodbye(Http2Error error) const {
  Goodbye frame{{0, 0, 8, static_cast<char>(Http2FrameType::goaway), 0, 0, 0, 0, 0}};
  const auto put = [&frame](std::size_t at, std::uint32_t number) {
    for (std::size_t i = 0; i < 4; ++i)
      frame.bytes[at + i] = static_cast<char>(number >> (24 - 8 * i) & 0xff);
  };
  put(9, static_cast<std::uint32_t>(nghttp2_session_get_last_proc_stream_id(session_)));
  put(13, static_cast<std::uint32_t>(error));
  return frame;
}

}  // namespace classgate::proxy::wire
