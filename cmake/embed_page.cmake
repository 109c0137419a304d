# cmake -D PAGE=FILE.html -D OUTPUT=FILE.cpp -P embed_page.cmake
file(READ ${PAGE} text)
string(FIND "${text}" ")pagewire\"" end)
if(NOT end EQUAL -1)
  message(FATAL_ERROR "${PAGE} has the text that would end it in C++")
endif()
file(WRITE ${OUTPUT} "#include \"service/status_page.h\"

std::string_view pagewire::service::status_page() {
  return R\"pagewire(${text})pagewire\";
}
")
