# cmake -D PAGE=FILE.html -D POLICY=FILE -D OUTPUT=FILE.cpp -P embed_page.cmake
file(READ ${PAGE} text)
file(READ ${POLICY} policy)
string(STRIP "${policy}" policy)
foreach(part text policy)
  string(FIND "${${part}}" ")pagewire\"" end)
  if(NOT end EQUAL -1)
    message(FATAL_ERROR "${PAGE} has the text that would end it in C++")
  endif()
endforeach()
file(WRITE ${OUTPUT} "#include \"service/status_page.h\"

std::string_view pagewire::service::status_page() {
  return R\"pagewire(${text})pagewire\";
}

std::string_view pagewire::service::status_page_policy() {
  return \"default-src 'none'; \"
         R\"pagewire(${policy})pagewire\"
         \"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\";
}
")
