#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "proxy/net/stream.h"

namespace classgate::proxy::net {

// Collects the pieces of one write: heads and chunk sizes that are made here, body parts that lie
// in the read buffer. One for each loop; whoever adds to it sends it before returning to the loop.
class Gather {
 public:
  // The text must stay where it is until send().
  void add(std::string_view text) {
    if (!text.empty()) pieces_.push_back({text.data(), 0, text.size()});
  }
  // Appends to text() what is written between these two.
  std::string& begin_text() {
    text_begin_ = text_.size();
    return text_;
  }
  void end_text() { pieces_.push_back({nullptr, text_begin_, text_.size() - text_begin_}); }

  bool is_empty() const { return pieces_.empty(); }
  void clear() {
    pieces_.clear();
    text_.clear();
  }

  void send(Stream& stream) {
    parts_.clear();
    for (const Piece& piece : pieces_) {
      const char* at = piece.at != nullptr ? piece.at : text_.data() + piece.offset;
      parts_.push_back({const_cast<char*>(at), piece.size});
    }
    stream.write(parts_);
    clear();
  }

 private:
  struct Piece {
    const char* at;  // null: in text_ at offset, which may move while it grows
    std::size_t offset;
    std::size_t size;
  };
  std::vector<Piece> pieces_;
  std::string text_;
  std::size_t text_begin_ = 0;
  std::vector<iovec> parts_;
};

}  // namespace classgate::proxy::net
