/* builtin_requests.c: the sixty requests themselves. */
#include "cli/builtin_requests.h"

/* clang-format off */
const builtin_request builtin_requests[BUILTIN_REQUESTS] = {
    {"code",
     "Write a Python function that removes duplicates from a list and keeps the "
     "order."},
    {"qa",
     "Who painted the ceiling of the Sistine Chapel?"},
    {"math",
     "A baker sells 24 rolls in the morning and twice as many in the afternoon. "
     "How many rolls does she sell that day?"},
    {"code",
     "Why does my for loop always stop one element before the end?"},
    {"qa",
     "In which year did the Berlin Wall fall, and how many years had it stood by "
     "then?"},
    {"math",
     "What is 347 + 589?"},
    {"code",
     "SELECT name, COUNT(*) FROM orders WHERE total > 100;\n\n"
     "This query gives an error about GROUP BY. What is wrong with it?"},
    {"qa",
     "What is the capital of Mongolia?"},
    {"math",
     "Three programmers write 1,200 lines in four days. How many lines does one "
     "of them write a day, if all are equally fast?"},
    {"code",
     "Schreibe ein Bash-Skript, das alle PNG-Dateien eines Ordners in "
     "kleingeschriebene Namen umbenennt."},
    {"qa",
     "Warum ist der Himmel abends rot?"},
    {"math",
     "Solve for x: 3x - 7 = 2x + 5"},
    {"code",
     "Explain the difference between a shallow and a deep copy of an object in "
     "JavaScript."},
    {"qa",
     "Which programming language is named after a comedy group, and who are they?"},
    {"math",
     "Ein Zug fährt 180 km in anderthalb Stunden. Wie schnell ist er im "
     "Durchschnitt?"},
    {"code",
     "def area(r):\n    "
     "return 3.14 * r * 2\n\n"
     "The result is wrong for r = 3. Fix it."},
    {"qa",
     "Tell me in two sentences what photosynthesis is."},
    {"math",
     "What is the derivative of x^3 * sin(x)?"},
    {"code",
     "Make a regular expression that matches dates such as 2024-02-29 but not "
     "2024-13-01."},
    {"qa",
     "How many bones does an adult human have?"},
    {"math",
     "A shop takes 15 % off a coat of 80 euros and then another 10 % off the new "
     "price. What does the coat cost in the end, and how much is saved?"},
    {"code",
     "My program leaks memory although every malloc has its free. How do I find "
     "out where?"},
    {"qa",
     "谁是中国历史上第一位皇帝？"},
    {"math",
     "小明有12个苹果，给了妹妹三分之一，又买了5个。他现在有几个苹果？"},
    {"code",
     "用 Go 写一个并发安全的计数器。"},
    {"qa",
     "What were the main reasons why the Roman Republic turned into an empire? I "
     "have to give a short talk at school tomorrow, so please name the three or "
     "four most important ones and say why they mattered."},
    {"math",
     "Find the greatest common divisor of 84 and 126."},
    {"code",
     "Turn this into a list comprehension:\n\n"
     "result = []\n"
     "for x in xs:\n    "
     "if x % 2 == 0:\n        "
     "result.append(x * x)"},
    {"qa",
     "Quel est le plus long fleuve d'Afrique ?"},
    {"math",
     "A museum opened in 1912. Each year since then it has bought 3 paintings, "
     "and it began with 40. How many paintings did it have at the end of 1960?"},
    {"code",
     "Écris une fonction en Rust qui lit un fichier ligne par ligne et compte "
     "les lignes vides."},
    {"qa",
     "Who was Ada Lovelace and why do people remember her?"},
    {"math",
     "In how many ways can five books be put on a shelf?"},
    {"code",
     "How should I name the tests of a class that parses invoices?"},
    {"qa",
     "Which vitamin does the skin make in sunlight?"},
    {"math",
     "Un rectangle a un périmètre de 36 cm et sa longueur est le double de sa "
     "largeur. Quelle est son aire ?"},
    {"code",
     "I get 'undefined reference to sqrt' when I compile my C program. Which flag "
     "is missing?"},
    {"qa",
     "A: the Treaty of Westphalia B: the Congress of Vienna C: the Treaty of "
     "Versailles D: the Peace of Utrecht\n"
     "Which of these ended the Thirty Years' War?"},
    {"math",
     "Two dice are thrown. How likely is it that their sum is 9?"},
    {"code",
     "Write a unit test for a function is_leap_year(year)."},
    {"qa",
     "At what temperature does water boil on top of Mount Everest, and why is it "
     "less than 100 degrees?"},
    {"math",
     "A server answers 250 requests a second and each one needs 4 kB. How many "
     "megabytes does it send in ten minutes?"},
    {"code",
     "Our team's pull requests take days until they merge because the branches "
     "conflict all the time. Should we rebase or merge?"},
    {"qa",
     "¿Quién escribió Cien años de soledad?"},
    {"math",
     "Is 221 a prime number?"},
    {"code",
     "#include <vector>\n\n"
     "struct node { int key; std::vector<node *> next; };\n\n"
     "Add a depth-first search that returns the number of nodes that can be "
     "reached."},
    {"qa",
     "What is the difference between a crocodile and an alligator?"},
    {"math",
     "Tom is four years older than his sister Anna. In six years the two of them "
     "will be 50 together. Their mother is twice as old as Tom is today. How old "
     "is their mother?"},
    {"code",
     "Implement a queue with two stacks in Java, with comments."},
    {"qa",
     "when did the first harry potter book come out"},
    {"math",
     "Compute the integral of 2x + 1 from 0 to 3."},
    {"code",
     "Escribe una consulta SQL que devuelva los tres clientes con más pedidos "
     "del último mes."},
    {"qa",
     "Who invented the number zero?"},
    {"math",
     "Si 5 obreros construyen un muro en 12 días, ¿cuántos días necesitan 3 "
     "obreros?"},
    {"code",
     "Is it better to return null or to throw an exception when nothing is found?"},
    {"qa",
     "Does the moon turn around its own axis?"},
    {"math",
     "Simplify (a + b)^2 - (a - b)^2."},
    {"code",
     "Give me a small HTML page with a button that changes the background colour "
     "each time it is clicked. No frameworks, please; the script may stand in the "
     "page itself."},
    {"qa",
     "Name the seven colours of the rainbow in order."},
    {"math",
     "My recipe for 6 people needs 450 g of flour, 3 eggs and 120 ml of milk. We "
     "are 10. How much of each do I need?"},
};
/* clang-format on */
