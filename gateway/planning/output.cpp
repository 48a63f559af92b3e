#include "gateway/planning/output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "conf/format.h"
#include "conf/printable.h"
#include "gateway/planning/page.h"
#include "gateway/planning/result_json.h"

namespace classgate::planning {
namespace {

bool write_file(const std::string& path, const std::string& text) {
  errno = 0;
  std::ofstream file(path, std::ios::binary);
  file << text;
  file.close();
  if (file) return true;
  conf::print(stderr, fmt::format("classgate: {}: {}\n", path, std::strerror(errno)));
  return false;
}

// Names in a log may be no UTF-8: replaced, and nothing is thrown. ASCII without control
// characters.
std::string json_text(const nlohmann::ordered_json& json, int indent) {
  return json.dump(indent, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

// "</script>" in a path that a client chose must not end the script.
std::string page_with(std::string_view text, const nlohmann::ordered_json& json) {
  constexpr std::string_view place = "/*DATA*/null";
  std::string data;
  for (const char c : json_text(json, -1))
    if (c == '<')
      data += "\\u003c";
    else
      data += c;
  std::string page(text);
  return page.replace(page.find(place), place.size(), data);
}

std::string page_of(const nlohmann::ordered_json& json) {
  constexpr std::string_view date_place = "/*MADE*/null";
  std::string page = page_with(page_template, json);
  return page.replace(page.rfind(date_place), date_place.size(),
                      '"' + time_text(std::chrono::system_clock::now()) + '"');
}

}  // namespace

int write(const conf::PlanningOptions& options, const std::string& text,
          const nlohmann::ordered_json& json) {
  if (options.json == "-")
    fmt::print("{}\n", json_text(json, 1));
  else
    conf::print(stdout, text);
  bool is_written = true;
  if (!options.json.empty() && options.json != "-")
    is_written = write_file(options.json, json_text(json, 1) + "\n");
  if (!options.html.empty()) is_written = write_file(options.html, page_of(json)) && is_written;
  return is_written ? 0 : 1;
}

bool write_page(const std::string& path, std::string_view text,
                const nlohmann::ordered_json& data) {
  return write_file(path, page_with(text, data));
}

void tell_remarks(const std::vector<std::string>& remarks) {
  for (const std::string& remark : remarks) conf::print(stderr, remark + "\n");
}

}  // namespace classgate::planning
