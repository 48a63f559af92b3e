#include <doctest/doctest.h>

#include "proxy/wire/fields.h"
#include "proxy/wire/lines.h"
#include "tests/proxy/parse.h"

namespace classgate::proxy::wire {
namespace {

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

TEST_CASE("a character that no field may have is found wherever it stands, beside whatever") {
  for (int c = 0; c < 256; ++c) {
    const bool is_wrong = (c < 0x20 && c != '\t') || c == 0x7f;
    for (const char beside : {'a', '\t', '\x80', '\xff', ' '})
      for (std::size_t size = 1; size < 30; ++size)
        for (std::size_t at = 0; at < size; ++at) {
          std::string text(size, beside);
          text[at] = static_cast<char>(c);
          if (is_field_text(text) == is_wrong) FAIL_CHECK(c << " at " << at << " of " << size);
        }
  }
  CHECK(is_field_text({}));
}

TEST_CASE("a field line is read alike, whatever comes behind it") {
  const std::string name = "X-Client-Name-Of-Some-Length", value = "a value of some length";
  for (const std::string& behind : {std::string(), std::string("\r\n"), std::string(40, 'a'),
                                    std::string(40, '\x01'), std::string(40, ':')})
    for (std::size_t names = 0; names <= name.size(); ++names)
      for (std::size_t values = 0; values <= value.size(); ++values)
        for (int odd = -1; odd < 256; odd += odd < 0 ? 1 : 3) {
          std::string line = name.substr(0, names) + ": " + value.substr(0, values);
          // One character in its name, and one in its value.
          if (odd >= 0) line[names / 2] = line.back() = static_cast<char>(odd);
          const std::string text = line + behind;
          const std::string_view seen = std::string_view(text).substr(0, line.size());
          FieldLine alone, among;
          const char* const wrong = read_field_line(line, Side::request, alone);
          const char* const also =
              read_field_line(seen, Side::request, among, text.data() + text.size());
          const bool is_alike = (wrong == nullptr) == (also == nullptr) &&
                                (wrong == nullptr || std::string_view(wrong) == also) &&
                                alone.name == among.name && alone.value == among.value &&
                                alone.is_plain == among.is_plain;
          if (!is_alike) FAIL_CHECK(line << " before " << behind);
        }
}

TEST_CASE("the fields a proxy must know are recognised in any case, and nothing near them") {
  const std::vector<std::pair<std::string, FieldId>> known{
      {"connection", FieldId::connection},
      {"keep-alive", FieldId::keep_alive},
      {"proxy-connection", FieldId::proxy_connection},
      {"te", FieldId::te},
      {"transfer-encoding", FieldId::transfer_encoding},
      {"upgrade", FieldId::upgrade},
      {"content-length", FieldId::content_length},
      {"host", FieldId::host},
      {"expect", FieldId::expect},
      {"via", FieldId::via},
      {"x-forwarded-for", FieldId::x_forwarded_for},
      {"x-forwarded-host", FieldId::x_forwarded_host},
      {"x-forwarded-proto", FieldId::x_forwarded_proto},
      {"forwarded", FieldId::forwarded},
      {"x-real-ip", FieldId::x_real_ip},
      {"x-request-id", FieldId::x_request_id},
  };
  for (const auto& [name, id] : known) {
    CAPTURE(name);
    CHECK(field_id(name) == id);
    CHECK(field_id(upper(name)) == id);
    CHECK(field_id(name + "x") != id);
    for (std::size_t i = 0; i < name.size(); ++i) {
      std::string other = name;
      other[i] = '#';
      const bool begins_alike = other.starts_with("x-forwarded-");
      CHECK(field_id(other) == (begins_alike ? FieldId::x_forwarded_other : FieldId::other));
    }
  }
  CHECK(field_id("") == FieldId::other);
  // Some servers take it for the real one, so it must not pass as anything.
  CHECK(field_id("Content_Length") == FieldId::misspelt);
  CHECK(field_id("X_Forwarded-For") == FieldId::misspelt);
  CHECK(field_id("Content_Lengthy") == FieldId::other);
}

TEST_CASE("names that an operator gives are known in any case, and what passes for them too") {
  const FieldNames names({"X-Tenant", "x_user"});
  CHECK_FALSE(names.is_empty());
  CHECK(FieldNames().is_empty());
  for (const char* name : {"X-Tenant", "x-tenant", "X-TENANT", "X_User"})
    CHECK(names.id_of(name) == FieldId::x_forwarded_other);
  for (const char* name : {"X_Tenant", "x_tenant", "X-User"})
    CHECK(names.id_of(name) == FieldId::misspelt);
  for (const char* name : {"X-Tenan", "X-Tenants", "XxTenant", "Host", ""})
    CHECK(names.id_of(name) == FieldId::other);
  CHECK(FieldNames().id_of("X-Tenant") == FieldId::other);
}

TEST_CASE("what steers a request is said before its body or not at all") {
  // It was not weighed here; whoever merges trailers into the head would believe it.
  for (const char* name :
       {"Prefer", "X-Request-Timeout", "grpc-timeout", "X-Retry-Count", "x-envoy-attempt-count",
        "Idempotency-Key", "X-Request-Id", "Host", "X-Stainless-Retry-Count", "X-Stainless-Timeout",
        "X-Stainless-Read-Timeout", "amz-sdk-request"}) {
    CAPTURE(name);
    CHECK_FALSE(may_be_trailer(name));
  }
  for (const char* name : {"grpc-status", "Server-Timing", "Digest", "X-Checksum"})
    CHECK(may_be_trailer(name));
}

TEST_CASE("what proxies say of their client by other names is known for what it is") {
  for (const char* name : {"X-Original-URL", "X-Rewrite-URL", "True-Client-IP", "CF-Connecting-IP",
                           "X-Client-IP", "X-Cluster-Client-Ip", "Fastly-Client-IP",
                           "X-Azure-ClientIP", "X-Remote-User", "X-Original-Host", "Remote-User",
                           "Proxy", "x-envoy-external-address", "X-Forwarded-User"}) {
    CAPTURE(name);
    CHECK(field_id(name) == FieldId::x_forwarded_other);  // dropped, unless the sender is trusted
    CHECK_FALSE(may_be_trailer(name));
  }
  CHECK(field_id("X_Original_URL") == FieldId::misspelt);
  CHECK(field_id("True_Client_IP") == FieldId::misspelt);
  for (const char* name : {"X-HTTP-Method-Override", "X-Original-URLs", "Client-Ips", "Accept"})
    CHECK(field_id(name) == FieldId::other);
}

TEST_CASE("a list is cut at its commas, without blanks and empty elements") {
  std::vector<std::string> elements;
  for_each_element(" a,\tb ,, c d,", [&](std::string_view e) { elements.emplace_back(e); });
  CHECK(elements == std::vector<std::string>{"a", "b", "c d"});
}

TEST_CASE("a Via names everybody whom a message has been through") {
  const auto through = [](std::string_view via) {
    Head head;
    head.fields.push_back({"Via", "1.0 first", FieldId::via});
    head.fields.push_back({"Via", via, FieldId::via});
    head.present = set_of(FieldId::via);
    return has_been_through(head, "me-1");
  };
  CHECK(through("1.1 me-1"));
  CHECK(through("1.0 a, HTTP/1.1\tME-1 (a comment), 1.1 b"));
  CHECK(through("1.1  me-1,"));
  CHECK_FALSE(through("1.1 me-12"));
  CHECK_FALSE(through("me-1"));
  CHECK_FALSE(through("1.1 a (me-1)"));
  CHECK_FALSE(through(""));
  CHECK_FALSE(has_been_through(Head{}, "me-1"));
}

TEST_CASE("names are equal in ASCII only") {
  CHECK(equal_names("Content-Type", "content-TYPE"));
  CHECK_FALSE(equal_names("Content-Type", "Content-Typ"));
  CHECK_FALSE(equal_names("a\x1b", "a;"));
  CHECK_FALSE(equal_names("@", "`"));
}

}  // namespace
}  // namespace classgate::proxy::wire
