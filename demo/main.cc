// tpmspace-demo: shows the main job. Without arguments, the whole of it; the others are its parts, which it starts.

#include <cstring>
#include <exception>
#include <iostream>
#include <string>

#include "demo/client.h"
#include "demo/show.h"
#include "demo/turns.h"

int main(int argc, char** argv) {
  using namespace tpmspace::demo;
  const std::string what = argc > 1 ? argv[1] : "";
  try {
    if (argc == 1) return show();
    if (argc == 3 && what == "turns") return take_turns(argv[2]);
    if (argc == 5 && what == "client")
      return run_client(static_cast<unsigned>(std::stoul(argv[2])), argv[3],
                        static_cast<unsigned>(std::stoul(argv[4])));
  } catch (const std::exception& e) {
    std::cerr << "tpmspace-demo: " << e.what() << "\n";
    return 1;
  }
  std::cerr << "usage: tpmspace-demo    (no arguments; needs no TPM and no configuration)\n";
  return what == "--help" ? 0 : 2;
}
