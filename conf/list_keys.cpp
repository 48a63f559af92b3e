// The kinds of settings that are lists of texts: names of fields, origins, methods, algorithms.

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <sstream>
#include <utility>

#include "conf/ascii.h"
#include "conf/format.h"
#include "conf/key_kinds.h"
#include "conf/origins.h"
#include "conf/routes.h"
#include "conf/secret_fields.h"
#include "conf/units.h"

namespace classgate::conf {
namespace {

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    const std::size_t begin = part.find_first_not_of(' ');
    if (begin == std::string::npos) continue;
    parts.push_back(part.substr(begin, part.find_last_not_of(' ') - begin + 1));
  }
  return parts;
}

}  // namespace

std::expected<bool, std::string> parse_protocols(const RawValue& raw) {
  const auto said = list_in(raw);
  if (!said) return std::unexpected(std::string("expected a list, such as [\"h2\", \"http/1.1\"]"));
  for (const std::string& protocol : *said) {
    if (protocol != "http/1.1" && protocol != "h2")
      return std::unexpected(
          fmt::format("\"{}\" is not spoken: \"http/1.1\" and \"h2\" are", protocol));
    if (std::ranges::count(*said, protocol) > 1)
      return std::unexpected(fmt::format("\"{}\" stands here twice", protocol));
  }
  if (std::ranges::find(*said, "http/1.1") == said->end())
    return std::unexpected(std::string("\"http/1.1\" is always spoken"));
  return said->size() == 2;
}

std::string_view print_protocols(bool speaks_http2) {
  return speaks_http2 ? R"(["http/1.1", "h2"])" : R"(["http/1.1"])";
}

Key protocols_key(std::string name, std::string help, FieldOf<bool> speaks_http2) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            const auto said = parse_protocols(raw);
            if (!said) return std::unexpected(said.error());
            speaks_http2(settings) = *said;
            return {};
          },
          [=](const Settings& settings) {
            return std::string(print_protocols(value_of(speaks_http2, settings)));
          }};
}

std::optional<std::vector<std::string>> list_in(const RawValue& raw) {
  if (const auto* list = std::get_if<std::vector<std::string>>(&raw.value)) return *list;
  if (const auto* text = std::get_if<std::string>(&raw.value); text && raw.is_text)
    return split_at_commas(*text);
  return std::nullopt;
}

namespace {

// Texts, each once; `check` says what is wrong with one of them.
struct TextList {
  std::size_t least = 0;
  std::size_t most = 64;
  std::string example;
  bool have_case = false;
  std::function<std::string(const std::string& text, const std::string& low)> check;
};

Key text_list_key(std::string name, TextList list, std::string help,
                  FieldOf<std::vector<std::string>> access) {
  return {std::move(name), std::move(help),
          [=](Settings& settings, const RawValue& raw) -> Read {
            auto said = list_in(raw);
            if (!said)
              return std::unexpected(fmt::format("expected a list, such as [{}]", list.example));
            if (said->size() > list.most)
              return std::unexpected(fmt::format("expected {} names at most", list.most));
            if (said->size() < list.least)
              return std::unexpected(fmt::format("expected one, such as [{}]", list.example));
            std::vector<std::string> seen;
            for (const std::string& text : *said) {
              std::string low = text;
              for (char& c : low) c = lower_case(c);
              if (const std::string wrong = list.check(text, low); !wrong.empty())
                return std::unexpected(fmt::format("\"{}\" {}", without_user(text), wrong));
              if (list.have_case) low = text;
              if (std::ranges::find(seen, low) != seen.end())
                return std::unexpected(fmt::format("\"{}\" stands here twice", text));
              seen.push_back(std::move(low));
            }
            access(settings) = std::move(*said);
            return {};
          },
          [=](const Settings& settings) {
            std::string out;
            for (const std::string& text : value_of(access, settings))
              out += (out.empty() ? "" : ", ") + quote(text);
            return "[" + out + "]";
          }};
}

// Names of fields; `why_not` says why it may not be this one (in lower case).
TextList field_names(std::size_t most, std::function<std::string(const std::string& low)> why_not) {
  return {.most = most,
          .example = "\"X-Tenant\"",
          .check = [=](const std::string& text, const std::string& low) -> std::string {
            if (!is_field_name(text)) return "is no name of a field";
            return why_not(low);
          }};
}

}  // namespace

Key fields_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access) {
  static constexpr auto own = std::to_array<std::string_view>(
      {"connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te",
       "transfer-encoding", "upgrade", "via"});
  const auto why_not = [](const std::string& low) -> std::string {
    return std::ranges::find(own, low) != own.end() ? "is the gateway's own to say" : "";
  };
  return text_list_key(std::move(name), field_names(64, why_not), std::move(help), access);
}

Key shown_fields_key(std::string name, std::size_t most, std::string help,
                     FieldOf<std::vector<std::string>> access) {
  const auto why_not = [](const std::string& low) -> std::string {
    const std::string word = secret_word_in(low);
    if (word.empty()) return {};
    return fmt::format("may hold a secret, by its word \"{}\": a log never tells such fields",
                       word);
  };
  return text_list_key(std::move(name), field_names(most, why_not), std::move(help), access);
}

Key origins_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access) {
  return text_list_key(std::move(name),
                       {.example = "\"https://app.example\"",
                        .check = [](const std::string& text, const std::string&) -> std::string {
                          return text == "*" ? std::string() : why_no_origin(text);
                        }},
                       std::move(help), access);
}

Key page_methods_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access) {
  return text_list_key(
      std::move(name),
      {.least = 1,
       .example = "\"POST\"",
       .have_case = true,
       .check = [](const std::string& text, const auto&) { return why_no_page_method(text); }},
      std::move(help), access);
}

Key tokens_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access) {
  return text_list_key(std::move(name),
                       {.example = "\"content-type\"",
                        .have_case = true,
                        .check = [](const std::string& text, const std::string&) -> std::string {
                          return is_field_name(text) ? "" : "is no token";
                        }},
                       std::move(help), access);
}

Key algorithms_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access) {
  return text_list_key(std::move(name),
                       {.most = jwt_algorithms.size(),
                        .example = "\"RS256\"",
                        .have_case = true,
                        .check = [](const std::string& text, const std::string&) -> std::string {
                          if (std::ranges::find(jwt_algorithms, text) != jwt_algorithms.end())
                            return {};
                          return fmt::format("is none of {}", fmt::join(jwt_algorithms, ", "));
                        }},
                       std::move(help), access);
}

Key grpc_services_key(std::string name, std::string help,
                      FieldOf<std::vector<std::string>> access) {
  return text_list_key(
      std::move(name),
      {.most = known_grpc_services.size(),
       .example = "\"inference.GRPCInferenceService\"",
       .have_case = true,
       .check = [](const std::string& text, const std::string&) -> std::string {
         if (std::ranges::find(known_grpc_services, text) != known_grpc_services.end()) return {};
         return fmt::format("has no routes here: {} has", fmt::join(known_grpc_services, ", "));
       }},
      std::move(help), access);
}

Key texts_key(std::string name, std::string help, FieldOf<std::vector<std::string>> access) {
  return text_list_key(std::move(name),
                       {.example = "\"https://api.example\"",
                        .have_case = true,
                        .check = [](const std::string& text, const std::string&) -> std::string {
                          return text.empty() || text.size() > 256 ? "has not 1 to 256 bytes" : "";
                        }},
                       std::move(help), access);
}

}  // namespace classgate::conf
