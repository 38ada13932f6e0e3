"""Generated requests for the probe, English and Chinese. A template is text with {choices|like this} and <slots>.

`make(rng, label, split)` gives one request. Families named in HELD_OUT are never trained on; of the others the test
set uses slot fillings whose text falls into the test half of a checksum.
"""

import re
import zlib

# fmt: off
S = {  # slots
    "lang": "Python|Python|Python|Java|C++|C|JavaScript|Go|Rust|SQL|bash|TypeScript".split("|"),
    "zlang": "Python|Python|Python|Java|C++|C语言|JavaScript|Go|SQL".split("|"),
    "verb": "sort|reverse|merge|parse|count|filter|validate|compress|search|split|shuffle|rotate|flatten|hash|format|encode|decode|cache|print|swap|group|normalize|trim|deduplicate|convert|download|read".split("|"),
    "thing": "a list of integers|a string|two sorted arrays|a linked list|a binary tree|a dictionary|a csv file|a json file|a matrix|a date string|an email address|a list of tuples|a stack|a queue|a graph|a log file|a url|a text file|nested lists|duplicate entries|the words in a sentence|a phone number|a roman numeral|an image|a set of strings|an html page|a config file".split("|"),
    "algo": "binary search|quicksort|merge sort|bubble sort|depth first search|breadth first search|dijkstra's algorithm|an LRU cache|a trie|a hash map|fibonacci|factorial|a prime sieve|levenshtein distance|matrix multiplication|a palindrome check|fizzbuzz|the n queens problem|a rate limiter|a bloom filter|tower of hanoi|gcd|a priority queue|a tokenizer".split("|"),
    "zalgo": "二分查找|快速排序|归并排序|冒泡排序|深度优先搜索|广度优先搜索|斐波那契数列|阶乘|素数筛|最长公共子序列|回文判断|链表反转|LRU缓存|哈希表|单例模式|二叉树遍历|最大公约数|汉诺塔|词频统计|动态规划背包|堆排序|字符串匹配".split("|"),
    "zverb": "排序|反转|合并|解析|统计|过滤|校验|查找|拆分|去重|遍历|压缩|转换|读取|打印".split("|"),
    "zthing": "一个整数列表|一个字符串|两个有序数组|一个链表|一棵二叉树|一个字典|CSV文件|JSON数据|一个矩阵|日期字符串|邮箱地址|嵌套列表|日志文件|文本文件里的单词|用户输入|数据库表|一个集合".split("|"),
    "err": "TypeError|KeyError|IndexError|ValueError|segmentation fault|null pointer exception|AttributeError|SyntaxError|RecursionError|undefined variable|off by one error|infinite loop|memory leak".split("|"),
    "n": lambda r: str(r.randint(2, 99)), "N": lambda r: str(r.randint(100, 9999)), "d": lambda r: str(r.randint(2, 12)),
    "x": lambda r: f"{r.randint(1, 60)}.{r.randint(1, 99)}", "p": lambda r: str(r.choice([5, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75, 80])),
    "year": lambda r: str(r.randint(900, 2024)),
    "name": "Tom|Lisa|Ahmed|Maria|John|Kevin|Sarah|Priya|Jake|Emily|Carlos|Mrs. Lee|Mr. Brown|Olivia|Ethan|a farmer|a baker|the teacher|Rachel|Tim|Jenny|Bob|Alice|Grandma".split("|"),
    "zname": "小明|小红|小华|小刚|小丽|李老师|王叔叔|妈妈|爸爸|张师傅|小芳|小军|一个农民|小李|小张|同学们".split("|"),
    "item": "apples|books|cookies|dollars|pages|miles|hours|eggs|marbles|cars|cupcakes|tickets|pounds of rice|bottles|chairs|shirts|liters of milk|stickers|flowers|students|fish|pens|bricks|toys".split("|"),
    "zitem": "个苹果|本书|块糖|元钱|支铅笔|只鸡|辆车|朵花|张票|个鸡蛋|颗珠子|页书|个梨|袋米|棵树|瓶水".split("|"),
    "shop": "store|market|bakery|farm|school|library|factory|garage|zoo|theater".split("|"),
    "country": "France|Brazil|Japan|Egypt|Canada|Kenya|India|Spain|Norway|Peru|Turkey|China|Italy|Mexico|Vietnam|Poland|Greece|Australia|South Korea|Argentina".split("|"),
    "zcountry": "法国|巴西|日本|埃及|加拿大|印度|西班牙|德国|英国|俄罗斯|意大利|墨西哥|澳大利亚|韩国|泰国|美国".split("|"),
    "person": "Mozart|Einstein|Shakespeare|Napoleon|Marie Curie|Darwin|Cleopatra|Galileo|Newton|Lincoln|Gandhi|Picasso|Julius Caesar|Queen Victoria|Leonardo da Vinci|Confucius|Beethoven|Freud|Columbus|Nelson Mandela".split("|"),
    "zperson": "李白|杜甫|孔子|秦始皇|鲁迅|苏轼|曹雪芹|牛顿|爱因斯坦|诸葛亮|武则天|司马迁|毛泽东|孙中山|康熙|老舍|达尔文|马克思|李时珍|屈原".split("|"),
    "work": "Hamlet|the Mona Lisa|Harry Potter|Star Wars|the Eiffel Tower|Bohemian Rhapsody|Pride and Prejudice|Game of Thrones|the Odyssey|the Titanic|Breaking Bad|the Statue of Liberty|the Sistine Chapel|Yesterday|the Walking Dead|Jurassic Park|Don Quixote|the first iphone|the telephone|the light bulb".split("|"),
    "zwork": "红楼梦|西游记|水浒传|三国演义|史记|论语|本草纲目|静夜思|狂人日记|资治通鉴|兰亭集序|骆驼祥子|清明上河图|聊斋志异|物种起源".split("|"),
    "topic": "photosynthesis|the french revolution|black holes|inflation|the human heart|the water cycle|plate tectonics|the second world war|vitamins|democracy|volcanoes|the immune system|the roman empire|dna|the silk road|jazz|gravity|buddhism|the stock market|penguins|the constitution|the kidney|oxygen|the moon".split("|"),
    "ztopic": "光合作用|法国大革命|黑洞|通货膨胀|心脏|水循环|板块构造|第二次世界大战|维生素|民主制度|火山|免疫系统|罗马帝国|基因|丝绸之路|万有引力|佛教|股票市场|宪法|科举制度|改革开放|刑事责任|合同|市场经济|质量管理|会计分录|电阻|化学反应|操作系统|细胞膜|行政处罚|社会分层|教学原则|交通信号|食品安全|修辞手法".split("|"),
    "club": "lakers|yankees|patriots|manchester united|real madrid|cowboys|cubs|warriors|packers|red sox|england|brazil".split("|"),
    "role": "king|president|prime minister|ceo|captain|author|composer|mother|founder|lead singer|director|voice|coach".split("|"),
    "fname": "get_sum|remove_duplicates|count_vowels|is_prime|max_depth|rotate_left|to_title|find_pairs|merge_lists|split_words|is_sorted|second_largest|common_prefix|chunk|unique_chars|digits_sum|flatten|running_total|encode_text|filter_short|closest_value|valid_date|word_freq|mode_of|add_matrix|truncate|change_base|parse_pairs|min_path|move_zeros".split("|"),
    "arg": "n: int|numbers: List[int]|text: str|a: int, b: int|lst: list|s: str, k: int|matrix: List[List[int]]|x: float|words: List[str]|arr|n|s|values, target|d: dict|nums: List[float], t: float|string|l1, l2|xs: Tuple[int, ...]".split("|"),
    "ret": "int|str|bool|List[int]|float|List[str]|Optional[int]|Dict[str, int]|Tuple[int, int]|Any".split("|"),
    "doc": "Return the sum of all even elements.|Check if the given string is a palindrome.|Given a list of integers, return the largest one.|Remove all duplicates but keep the order.|For a given number n, find the largest divisor smaller than n.|Count how many times a substring can be found in the original string.|Return True if all brackets are properly closed.|You are given two positive integers. Compute their greatest common divisor.|Filter the input list of strings only for ones that contain the given substring.|Return a list of tuples with the word and its length.|Write a function that takes an array and returns a copy sorted in descending order.|Concatenate the strings into a single string.|Create a function which returns the n-th Fibonacci number.|Given a string, find out how many distinct characters it consists of.|Return the average of the numbers, or None when the list is empty.|In this task you have to sort the words by their last letter.|Evaluate the polynomial with the coefficients xs at point x.|The input is a string of space separated numbers. Return them sorted.|Insert a number 'delimiter' between every two consecutive elements.|Find the shortest path from the top left to the bottom right corner.|From the supplied list select the two numbers that are closest to each other.|Convert the number to the given base and return it as a string.|Return only positive numbers in the list.|A number is lucky if its digits add up to seven. Return how many lucky numbers are below n.|Flip lowercase characters to uppercase and uppercase to lowercase.|Raise a ValueError when the value is negative.".split("|"),
    "zdoc": "返回列表中所有偶数的和|判断字符串是否为回文|找出列表中的最大值|去除重复元素并保持顺序|计算两个数的最大公约数|统计每个单词出现的次数|返回第n个斐波那契数|把字符串反转|检查括号是否匹配|把列表按长度排序|计算平均值|找出两数之和等于目标值的下标".split("|"),
    "val": lambda r: r.choice(["[1, 2, 3]", "[3, 1, 2]", "'hello'", "'abc'", "10", "7", "[]", "[1, 2, 2, 3]", "'racecar'", "12, 18", "''", "['a', 'bb']", "[[1, 2], [3, 4]]", "5, 2", "[1.5, 2.0]", "{'a': 1}", "'The quick fox'", "100"]),
    "res": lambda r: r.choice(["6", "True", "False", "[1, 2, 3]", "'olleh'", "3", "None", "[]", "55", "{'a': 2}", "2.0", "'ABC'", "[2, 4]", "1", "(1, 2)", "['a']"]),
    "zsub": "哲学|法律|医学|历史|地理|生物|化学|物理|经济|管理|会计|教育|社会学|心理学|计算机|安全|饮食|交通|文学|政治".split("|"),
    "zopt": "唯物主义|唯心主义|北京|上海|广州|南京|法人|自然人|合同|侵权|心脏|肝脏|肺|胃|青霉素|维生素C|氧气|二氧化碳|唐朝|宋朝|明朝|清朝|生产力|生产关系|货币|资本|计划|组织|领导|控制|借方|贷方|资产|负债|比喻|拟人|夸张|排比|减速慢行|停车让行|禁止通行|内存|硬盘|光纤|路由器|电压|电流|盐酸|硫酸|细胞核|线粒体|长江|黄河|家庭|学校|社会|国家|主观|客观|监护人|法院|检察院|公安机关|正确|错误|增加|减少|不变|先增后减|以上都是|以上都不是|第一次世界大战|工业革命|文艺复兴|大于|小于|等于|5年|10年|3天|2个月|甲|乙|过拟合|卷积|线性回归|聚类|水文循环|降水|蒸发|径流".split("|"),
    "zfact": "首都|人口最多的城市|国花|官方语言|货币|最长的河流|最高的山".split("|"),
    "adj": "short|simple|quick|tiny|clean|fast|recursive|small|well documented".split("|"),
}

CODE = {
    "ask": ["{Write|Create|Give me|I need|Can you write|Please write|Show me} {a|a <adj>} <lang> {function|program|script|method|snippet} {to|that can} <verb> <thing>{.||?}",
            "{How do I|How can I|What is the best way to} <verb> <thing> in <lang>?",
            "{implement|Implement|code|write code for|Write} <algo> in <lang>{.||, please}",
            "{write|implement} a {class|module} in <lang> that can <verb> <thing> and <verb> <thing>",
            "{Refactor|Optimize|Explain and fix|Debug|Review|Rewrite} this {code|function|script}: <snippet>",
            "{Why does|why do i get|What causes} {this code give |}a <err>{?|}{ in| when i run} <snippet>",
            "{Fix|fix} the <err> in {my|this} <lang> {code|program|function}: <snippet>",
            "{Write|Add} {a unit test|unit tests|a docstring|type hints} for {the function|this function} <fname>: <snippet>",
            "Translate this {function|code} {from Python |}to <lang>: <snippet>",
            "write a regex that matches <thing>", "Write a SQL query that selects all {users|orders|rows} {older than|with id above|from} <n>",
            "make a <lang> one-liner that will <verb> <thing>",
            "{How do I|how to|How can I|What command lets me} <gitdo> {in git|with git|using the command line}{?|}",
            "{Write|Create|Make|Give me|I need} a <file> {for|that builds|that runs|to deploy} a {small |simple |}<app>{.| that <does>.|}",
            "{my|the|our} <app> <wrong>{, what should I change|, how do I fix it|. What is wrong?|, here is the code: <snippet>|}{?|}",
            "{what's|what is|What is|Whats} wrong {with|in} {this|my code|the code below}{?|:} <snippet>", "{fix|Fix|solve|debug}: <err>{ in|: } <snippet>",
            "{Explain|explain|What does} {what |}this {regex|query|code|function|line|command|script} {does|do}: <snippet2>",
            "{Add|add} {error handling|logging|type hints|comments|tests|caching|a retry} to {this|the|my} {function|code|script|class|method}{.| so that <does>.|: <snippet>}",
            "{Write|write|create|make|Build|build} {a|an} <app> {in|with|using} <tech>{ that <does>|}{.|}",
            "{Implement|Write|Define} a <tech> {class|struct|decorator|generator|iterator|hook|component|macro|closure|context manager} {that|which} <does>{.|}",
            "how {do i|can i|to} <shelldo> {with|in|using} {sed|awk|bash|grep|a shell script|powershell|python|find}{?|}",
            "{Given|You are given} <thing>{ and <thing>|}, write {a function|code|a method|an algorithm} {to|that can} <verb> {it|them}{.| in O(n).|}",
            "{Convert|Port|Translate|Rewrite|Turn} this {loop|class|function|callback|query|snippet} {to|into|in} {a list comprehension|<tech>|async code|a recursive version|idiomatic <lang>}: <snippet>",
            "{i have|I have} a {dataframe|table|json response|list of dicts} with {columns|keys} <col> and <col>; {write|give me} code {that|to} {plots|averages|groups|joins|filters} {it|them} by <col>",
            "{is there|Is there} a {library|function|built-in|module} in <lang> {to|that can} <verb> <thing>?", "<snippet2>{ -- why is this slow| // what is wrong here|  # does this work| -- show only rows above <n>}{?|}",
            "Write a {function|method} `<fname>(<arg>)` {that will|to} <verb> <thing> and return {a list|the result|True or False|an integer}."],
    "stub": ["<stub>", "<stub>", "Complete {the|this} function{.|:}\n\n<stub>", "{Finish|Fill in|Implement} the following {code|function|Python function}:\n<stub>"],
    "zh": ["{用|请用|帮我用|使用}<zlang>{写|实现|编写}{一个|}{函数|程序|脚本|方法|}，{用来|实现|可以|}<zverb><zthing>{。|}",
           "{用|请用}<zlang>实现<zalgo>{。||算法|，要求有注释}", "{写|编写}一个{函数|Python函数|程序}，<zdoc>{。|}",
           "{请|帮我|}{修复|优化|解释|重构|调试}{这段|下面的}代码：<snippet>", "{如何|怎么|怎样}{用|在}<zlang>{里|中|}<zverb><zthing>？",
           "<zlang>{代码|程序}报错<err>{，怎么解决|，如何修改|}{？|}\n<snippet>", "补全{下面的|以下}{函数|代码}：\n<zstub>", "<zstub>",
           "{实现|写}一个<zlang>的{类|接口|模块}，支持<zverb><zthing>", "给{函数|方法}<fname>写单元测试",
           "{用|请用|使用|帮我用}<ztech>{写|做|实现|编写}{一个|个|}<zapp>{，<zdoes>|}{。|}", "{写|帮我写|给我写|编写|请写}{一个|个|一段|}{SQL|SQL语句|正则表达式|shell脚本|爬虫|函数|类|脚本|代码|配置文件}，{<zdoes>|<zdoc>|<zverb><zthing>}{。|}",
           "{这段|下面的|我的}{代码|程序|函数|脚本|SQL}{为什么|怎么}{会报错|会死循环|这么慢|没有输出|结果不对|崩溃}{？|}\n<snippet>", "{请|帮我|}{把|将}{下面的|这段|这个}{代码|函数|循环|类}{改写成|改成|翻译成|重写为}{递归|迭代|<ztech>|列表推导式|异步|面向对象}{的形式|版本|}{：|:}\n<snippet>",
           "<ztech>{里|中}{怎么|如何}{用|使用}<zconcept>{？|？请给出代码。|？给个例子。}", "{优化|解释|检查}{这条|下面的|这段}{SQL|代码|正则|命令}{：|:}<snippet2>", "{给我|写}一段{代码|程序|脚本}，<zdoes>{。|，并画图。|，要求高效。}", "{用|使用}<ztech>{实现|定义}<zconcept>{。|，并写注释|}", "{实现|设计}{一个|}<zconcept>，{要求|支持}<zdoes>{。|}", "输入<zthing>，{输出|返回|打印}{结果|长度|平均值|是否合法}，{写|编写}{程序|函数|代码}"],
    "terse": ["<lang> <algo>", "<algo> {code|implementation|function} <lang>", "def <fname>(", "<lang> <verb> <thing> example", "<zlang> <zalgo>", "{import numpy as np|import os|from typing import List|#include <stdio.h>|package main}\n\n<snippet>", "<snippet>",
              "class Solution:\n    def <fname>(self, <arg>) -> <ret>:"],
}
MATH = {
    "story": ["<name> {has|bought|had|picked|sold} <n> <item>. {He|She|They} {gives|gave} <d> {away|to <name>} and {then |}{buys|gets} <n> more. How many <item> {are left|does <name> have now|are there}?",
              "<name> {buys|sells|makes} <d> {boxes|packs|bags} of <item> {at|for} $<n> each. {How much does it cost|How much money is that in total|What is the total price}?",
              "A {train|car|bus|cyclist|runner} {travels|goes|drives} {at |}<n> miles {per hour|an hour} for <d> hours. How {far does it go|many miles is that}?",
              "<name> earns $<n> {an hour|a day|per week} and works <d> {hours a day|days}. {How much does <name> earn in <d> weeks|How much is it after <d> days}?",
              "There are <N> <item> at the <shop>. <p>% of them are {sold|red|broken|old}, and {half|a third|a quarter} of the rest {are given away|go to <name>}. How many <item> {remain|are left}?",
              "<name> is <n> years old. <name> is {twice|three times|<d> times} as old{ as that|}. How old will {he|she} be in <d> years?",
              "The <shop> sells <item> for $<x> each. If <name> pays with a $<N> bill for <d> of them, how much change {is due|does <name> get}?",
              "If <d> {workers|machines|painters} need <n> hours to {finish a job|build a wall|fill a tank}, how {long|many hours} do <d> {workers|machines|painters} need?",
              "<name> {read|ran|drove|saved} <n> <item> on Monday and {twice as many|half as many|<d> more} on Tuesday. {How many in total|What is the total for both days|How many <item> altogether}?",
              "<name> has <d> times {as many|more} <item> {than|as} <name>, who has <n>. <name> has <d> fewer than both {together|combined}. How many <item> do all three have?"],
    "calc": ["{What is|Calculate|Compute|Evaluate|what's|Find} <n> {+|-|*|times|plus|minus|divided by|/} <n>{?||.| + <n>?| * <d>}", "{Solve|solve} {for x|the equation}: <d>x {+|-} <n> = <N>", "{What is|Find|calculate} <p>% of <N>{?|}",
             "{Find|Compute|What is} the {area|perimeter} of a {rectangle|triangle|square|field} with {sides|length and width} <n> and <n>{.|?}", "<n> * <n> + <n> = ?", "<N> - <n> * <d>", "Simplify (<d>x + <d>)(x - <d>)", "{What is|Find} the {average|sum|product|median|lcm|gcd} of <n>, <n> and <n>{?|.}",
             "{Find|Compute} the derivative of f(x) = <d>x^<d> + <n>x", "{What is|Evaluate} the {square root of <N>|integral of <d>x^<d> from 0 to <d>}{?|}", "A {circle|sphere} has radius <n>. {What is its area|Find the circumference|Compute its volume}{?|.}",
             "{What is the probability|How likely is it} {of rolling|to roll} a {sum of |}<d> with {two|three} dice?", "If {f(x) = |y = }<d>x {+|-} <n>, {what is|find} {f(<d>)|y for x = <d>}{?|.}", "how many {minutes|seconds|days} are in <n> {hours|weeks|minutes}", "Convert <x> {miles|kilometers|inches|pounds} to {meters|feet|kilograms}", "Solve: {x^2|2x^2|x^2} {+|-} <d>x - <n> = 0"],
    "zstory": ["<zname>有<n><zitem>，{又买了|给了<zname>|吃了|卖出}<n><zitem>，{还剩多少|现在有多少|一共有多少}<zitem>？", "{一本书|一个故事|一根绳子}{有|长}<N>{页|米}，第一天{看了|用去}<n>{页|米}，第二天{看了|用去}<n>，{还剩多少|还剩几}{页|米}？",
               "{商店|超市|学校|工厂|果园}{运来|买了|有}<d>{箱|袋|筐}<zitem>，每{箱|袋|筐}<n>{个|千克|本}，{卖出|用去}<n>{个|千克|本}，还剩多少？", "{甲|一辆汽车|一列火车|小船}每小时行<n>千米，<d>小时行多少千米？{如果速度提高<p>%呢？|}",
               "甲乙两地相距<N>千米，{两车|甲乙两人}同时{相向而行|出发}，速度分别是每小时<n>千米和<n>千米，几小时后相遇？", "{修一条路|一项工程|加工一批零件}，甲单独做要<n>天，乙单独做要<n>天，{两人合做|一起做}要几天？",
               "<zname>今年<n>岁，<zname>的年龄是{他|她}的<d>倍，<d>年后{两人共多少岁|两人相差几岁}？", "一件{衣服|商品}原价<N>元，打<d>折后{多少钱|便宜多少元}？", "<zname>买了<d><zitem>，每{个|本|支}<n>元，付了<N>元，应找回多少元？",
               "{鸡兔同笼|笼子里有鸡和兔}，{共有|一共}<n>个头，<N>只脚，{鸡兔各有几只|兔有几只}？", "{一个水池|一个水箱}，{甲管|进水管}<d>小时注满，{乙管|另一管}<d>小时注满，{同时打开|两管齐开}几小时{注满|能满}？", "{把|将}{一根木头|一根绳子|一块地}{分成|平均分成|锯成}<d>{段|份}，{每段|每份|锯一次}{多长|要<d>分钟，共要多少分钟}？", "<N>{本书|元钱|个苹果}按<d>:<d>分给{两个班|甲乙两人}，{甲|乙|每班}{得多少|分到多少}？", "{某数|一个数}的<d>倍{加上|减去}<n>{等于|是}<N>，{求这个数|这个数是多少}。",
             "{三年级|学校|班里}有男生<n>人，女生{比男生多|比男生少}<d>人，{一共有多少人|女生有多少人}？"],
    "zcalc": ["{计算|求|请计算|算一下}<n>{+|-|×|÷|乘以|加}<n>{的值|等于多少|}{。|？|}", "{解方程|求x}：<d>x{+|-}<n>=<N>", "<n>乘<n>等于多少？", "求{长方形|三角形|正方形}的面积，{长|底}<n>厘米，{宽|高}<d>厘米。", "<N>的<p>%是多少{？|}", "{圆|球}的半径是<n>，求{面积|周长|体积}。", "{求|计算}<n>、<n>、<n>的{平均数|最大公约数|最小公倍数|和}{。|}", "{函数|已知}f(x)=<d>x+<n>，求f(<d>)的值", "等差数列首项是<d>，公差是<d>，求前<n>项的和。", "{求|解}不等式<d>x{+|-|−}<n>{>|<|≥}<n>的解集。", "{求|}函数y=x²{-|+}<d>x+<d>的{最小值|最大值|对称轴|零点}。", "{从<d>到<n>|前<n>个}所有{整数|偶数|奇数}的和是多少？", "{计算|化简}：{(−<d>)³|<d>²|-<d>} {+|×|-} {<d>|(<d> − <d>)}", "<x>{×|÷|+}<x>{等于多少|=|=?}", "<d>的<d>次方{是多少|等于几|减<n>是多少}？", "等式<d>x²-<n>x=0的解是什么？"],
    "terse": ["<n>+<n>", "<N>/<d>=?", "<p>% of <N>", "<n> x <n> = ?", "sqrt(<N>)", "<d>x + <n> = <N>, x = ?", "{step by step: |}<n> * <d> - <n>"],
}
QA = {
    "ask": ["{who|Who} {was|is} {the |}<role> of {<country>|<work>|<topic>}{?|| in <year>}", "{when|When} {was|did} {<person> born|<person> die|<work> {first made|come out|built|written}|<country> become independent}{?|}", "{where|Where} {is|was} {<work>|<person> {born|buried}|<work> {filmed|located|made}}{?|}",
            "{who|Who} {wrote|painted|directed|invented|played in|sings|built} <work>{?|}", "{what|What} {is|are} {the capital|the largest city|the official language|the currency|the highest mountain|the national anthem|the population|the flag} of <country>{?|}", "{What is|what is|Explain|Tell me about|Describe|Define} <topic>{?|.|}",
            "{how many|How many} {people live in <country>|seasons of <work> are there|bones are in the human body|planets are there|states are in <country>|players are on a <club> team|episodes are in <work>}{?|}", "{when|what year} did the <club> {last |}win the {championship|world cup|super bowl|title|world series}{?|}", "{which|Which} {country|river|animal|planet|city} is the {largest|smallest|longest|fastest|oldest|coldest}{ in <country>| in the world|}{?|}",
            "{why|Why} {is|does|do} {the sky blue|the moon change shape|leaves turn red|<topic> matter|cats purr|we dream|<country> have a queen}{?|}", "{who|Who} {plays|voiced|is} the {main character|villain|mother|bad guy} in <work>{?|}", "{what|What} does {<topic> mean|the word <topic> mean|the heart do|dna stand for|<topic> consist of}{?|}",
            "what is the meaning of {the name <name>|the song <work>|<topic>}", "{Name|List|Give} {the|three|some} {causes|examples|parts|effects} of <topic>{.|}", "{Is|is|Was|was} <person> {older than|related to|a friend of|from} {<person>|<country>}{?|}", "what {part|kind} of {speech|animal|country|music} is {<topic>|<country>|<work>}"],
    "mc": ["<eq>\nA. <topic>\nB. <country>\nC. <person>\nD. <work>", "Which of {these|the following} {is true about|best describes|belongs to} <topic>?\nA. <topic>\nB. <topic>\nC. <topic>\nD. {none of these|<topic>}", "Which {is larger|number is prime|value is right}?\nA. <n>\nB. <n>\nC. <n>\nD. <n>"],
    "phrase": ["{most|fewest|highest|first|last|second} {assists|goals|points|wins|home runs|episodes|population|oscars} in {a|an|the} {<club> game|season|world cup|history of <country>|all star game|state}", "{winner|winners|cast|host|judges} of {the |}{first|last|second|new} {season|series|episode} of <work>", "<country> in {english|chinese|latin|french} is called {what|<name> which means}", "{in|In} <country> how is the <role> {chosen|elected|placed in office|paid}",
            "<topic> {and <topic> |}{belong to|is part of|comes under|are found in} {which|what} {family|group|country|ministry|organ}", "the {first|last|main|only} {part|line|step|name} of <topic> is {called|known as} {____|what|}", "list of {<country>'s|all the} {states|kings|rivers|capitals|presidents}{ and their <role>s|}", "{how|where|when} does {season <d>|the new season|<work>} {start|end|take place|come out}", "<work> season <n> how many episodes", "{who|who all} said {everyone|a house|god|the truth} will be {famous|free|divided}{ for <n> minutes|}",
            "when {was|is} the {drinking|voting|legal} age {set|changed} to <n>", "{what|which} are the <d> {rules|parts|kinds|stages|pillars|prohibitions} of <topic>", "mention {the|a} {change|kind|use|name} {that|of} <topic>{ undergo|}", "number of {states|players|members|countries} in {the |}{<topic>|<country>|un|team}", "{first|1st} {woman|man|country|person} to {win|reach|climb|get} {the |}{<topic>|everest|nobel prize|moon|<work>}", "how many {us states|countries|games|seats} are {there in|left in|won by} <country> {and which are they|}"],
    "tex": ["<texq>\nA. <texo>\nB. <texo>\nC. <texo>\nD. <texo>"],
    "zmc2": ["<zq2>\nA. <zs>\nB. <zs>\nC. <zs>\nD. <zs>", "<zq2>\nA. <zopt>\nB. <zopt>\nC. <zopt>\nD. <zopt>", "<zq2>\nA. <unit>\nB. <unit>\nC. <unit>\nD. <unit>"],
    "zask": ["{<zwork>|《<zwork>》}的作者是谁{？|}", "<zcountry>的<zfact>是{什么|哪里|哪个}{？|}", "<zperson>{是哪个朝代的人|出生在哪里|是谁|有哪些作品|的主要贡献是什么|生于哪一年}{？|}", "{什么是|请解释|简述|介绍一下|说说}<ztopic>{？|。|}", "<ztopic>{的定义是什么|的意义是什么|的特点有哪些|是怎么回事|的原因是什么|由什么组成}{？|}", "{世界上|中国|<zcountry>}最{大|长|高|小}的{河|湖|山|城市|岛}是{什么|哪个}？", "{为什么|为何}{天空是蓝色的|月亮会变化|<ztopic>很重要|会下雨|树叶会变黄}？", "<ztopic>发生在{哪一年|什么时候|哪个国家}？", "{《<zwork>》|<zwork>}{写了什么|是哪个朝代的|讲了什么故事|有哪些人物}？", "{谁|哪个国家|哪个朝代|什么人}{发明了|建造了|发现了|最早使用}{火药|造纸术|指南针|长城|电灯|地动仪|青霉素|望远镜|蒸汽机|文字}？", "{端午节|中秋节|春节|重阳节|清明节|元宵节}{的来历是什么|吃什么|是哪一天|是为了纪念谁}？", "{人体|动物|植物|地球}{最大的|最小的|最重要的}{器官|细胞|部分|骨头}是{什么|哪个}？", "{请|}{介绍一下|简单介绍|讲讲}{<zcountry>的历史|<zperson>的生平|<ztopic>|西湖|故宫|兵马俑|泰山}。", "{我国|中国}的{国庆节是哪一天|首都是哪里|四大发明是什么|国旗是什么颜色}？"],
    "zmc": ["<zq>\nA. <zopt>\nB. <zopt>\nC. <zopt>\nD. <zopt>"] * 5 + ["<zq>\nA. {<n>|<x>}\nB. {<n>|<x>}\nC. {<n>|<x>}\nD. {<n>|<x>}", "<zq>\nA. <zs>\nB. <zs>\nC. <zs>\nD. <zs>",
            "<zmath>\nA. {<n>|<x>|$<n>$}\nB. {<n>|<x>|$<d>x$}\nC. {<n>|<x>|<n>}\nD. {<n>|<x>|<n>}", "{以下|下列}{程序|代码|语句}{的输出是|中正确的是|的作用是}\nA. <zs>\nB. <zs>\nC. <zopt>\nD. <zs>", "<zmath>\nA. <n>\nB. <n>\nC. <n>\nD. <n>", "{在Python中|在<zlang>中|在计算机中|在<zsub>中}，<ztopic>的{类型|表示方法|结果}是\nA. <zopt>\nB. <zs>\nC. <zopt>\nD. <zs>"],
    "terse": ["<person>", "capital of <country>", "<topic> definition", "<work> {release date|author|cast}", "<zperson>简介", "<ztopic>", "history of <country>", "<club> {stadium|founder|coach}"],
}
S["crop"] = "tomatoes|apples|roses|tulips|rice|potatoes|hummus|sushi|bread|oranges|coffee|garlic|pumpkin soup|cheese".split("|")
S["gitdo"] = "revert a commit|rename a branch|squash my commits|see who changed a line|remove a file from history|merge two branches|resolve a conflict|stash changes|delete a remote branch|tag a release|discard local edits|list open ports|kill a process|install a package".split("|")
S["file"] = "Dockerfile|Makefile|docker-compose file|GitHub Actions workflow|CMakeLists.txt|nginx config|package.json|unit file|YAML config|requirements.txt|shell script|README|systemd service|webpack config".split("|")
S["app"] = "Flask app|web page|html form|command line tool|REST API|React component|chat bot|todo list|web scraper|login form|python package|C project|node server|game of snake|calculator|stopwatch|blog|android app|vue page|plugin|unit test suite|cron job".split("|")
S["does"] = "runs every night|counts clicks|prints the largest value|changes the colour of a button|sends an email|reads integers from standard input|measures how long it takes|does not crash on bad input|is thread safe|yields even numbers|stores the results in a database|supports undo|returns a json object|shows a spinner while loading|logs every call|retries three times|checks the password".split("|")
S["wrong"] = "crashes on start|is very slow|does not compile|re-renders all the time|throws <err>|leaks memory|returns undefined|shows a blank page|hangs forever|prints nothing|gives the wrong result|fails in ci|does not find the module".split("|")
S["tech"] = "React|Vue|Rust|Kotlin|Swift|Ruby|PHP|Haskell|Scala|Lua|Perl|Django|Flask|numpy|pandas|PyTorch|javascript|CSS|HTML|C++|C|Go|Python|Java|TypeScript|assembly|Node.js|matplotlib|jQuery".split("|")
S["shelldo"] = "delete files older than <n> days|count the lines of a file|replace tabs by spaces|remove empty lines|rename all jpg files|find large files|print the second column|sort a file by size|watch a log file|strip comments|unzip many archives|list all users".split("|")
S["col"] = "date|price|user_id|name|score|city|amount|age|country|time".split("|")
S["snippet2"] = ["SELECT <col>, COUNT(*) FROM orders GROUP BY <col>;", "^[a-z]+\\.<n>$", "[A-Z]{2}\\d+", "grep -r foo . | wc -l", "lambda x: x * <d>", "git rebase -i HEAD~<d>", "a = b if c else d", "print('hi'", "awk '{print $<d>}' f.txt", "x = [i for i in range(<n>) if i % <d>]", "const r = await fetch(u); return r.json();", "SELECT * FROM t WHERE year(created) = <year>", "(\\w+)@(\\w+)\\.com", "let y = arr.map(v => v + <d>)"]
S["ztech"] = "Python|Java|JavaScript|C语言|C++|Go|Vue|React|SQL|Spring|pandas|numpy|shell|HTML|Node|PHP|Rust|pytest|Django|Excel VBA|Linux命令|MySQL|Redis|CSS".split("|")
S["zapp"] = "爬虫|登录页面|计算器|聊天机器人|待办事项应用|网页|接口|定时任务|贪吃蛇游戏|命令行工具|文件上传功能|表单|图书管理系统|学生成绩管理程序|柱状图|数据库连接池|线程池|日志模块".split("|")
S["zdoes"] = "抓取网页内容|保存到文件|校验手机号|查询每个部门的平均工资|每天备份一次|读取Excel|发送邮件|计算每列的总和|统计在线人数|输出最大值|支持增删改查|处理异常|限制访问频率|把结果写入数据库|返回JSON|生成随机密码|匹配邮箱|压缩图片|按日期分组|查询重复记录|转换命名风格|判断是否合法".split("|")
S["zconcept"] = "防抖|节流|单例模式|工厂模式|装饰器|生成器|多线程|指针|链表|栈|队列|哈希表|二叉树|闭包|异步请求|正则表达式|循环|递归|继承|接口|泛型|事务|索引|参数化测试|银行账户类|学生类|优先队列|并查集|缓存|异常处理|上下文管理器".split("|")
S["snippet"] = ["def <fname>(<arg>):\n    return <fname>(<arg>)", "for i in range(<n>):\n    print(i)", "x = <val>\nprint(x[<d>])", "int main() { int a = <n>; return a; }", "function f(a) { return a + <n>; }", "result = []\nfor x in data:\n    if x > <n>:\n        result.append(x)", "while True:\n    n -= <d>", "df = pd.read_csv('data.csv')\ndf.groupby('name')", "class Node:\n    def __init__(self, value):\n        self.value = value", "SELECT * FROM users WHERE id = <n>;", "const x = await fetch(url);", "for (int i = 0; i < n; i++) sum += a[i];", "with open('f.txt') as f:\n    lines = f.readlines()", "try:\n    y = int(s)\nexcept ValueError:\n    y = <n>"]
S["stub"] = ["{from typing import List\n\n\n|import math\n\n\n|\n|\n\n|}def <fname>(<arg>){ -> <ret>|}:\n    {\"\"\"|\"\"\"|'''}{ |\n    |}<doc>{ <doc>|\n    <doc>|}{\n    >>> <fname>(<val>)\n    <res>|\n    Example:\n    <fname>(<val>) => <res>|\n    For example:\n    <fname>(<val>) ➞ <res>\n    <fname>(<val>) ➞ <res>|\n    Examples\n    <fname>(<val>) == <res>|}{\n    >>> <fname>(<val>)\n    <res>|}\n    {\"\"\"|'''}\n"] * 3 + ["def <fname>(<arg>){ -> <ret>|}:\n    # <doc>\n", "def <fname>(<arg>):\n    pass  # <doc>"]
S["zstub"] = ["def <fname>(<arg>):\n    \"\"\"<zdoc>\"\"\"\n", "def <fname>(<arg>) -> <ret>:\n    # <zdoc>\n", "public int <fname>(int a, int b) {\n    // <zdoc>\n}"]
S["eq"] = ["Who {wrote|made} <work>?", "What is <topic>?", "Where was <person> born?", "Which one is a country?", "{The main cause of|Part of} <topic> is"]
S["zq"] = ["{下列|以下}关于<ztopic>的{说法|叙述|描述}，{正确|错误|不正确}的是{（ ）||：|()}", "{下列|以下}{属于|不属于|不是|体现}<ztopic>的是{（ ）|}", "<ztopic>{是指|的核心是|的本质是|主要包括|通常采用|的基本特征是|应当}{（ ）||____}", "{提出|研究|创立}<ztopic>的{人|学者|国家}是{（ ）|}", "在<zsub>中，<ztopic>{属于|被称为|表现为}{（ ）|()|}", "{“<ztopic>”|“<zopt>”}{说明|指的是|的意思是|出自}{（ ）|}", "<zperson>{的代表作是|生活在|提出了|认为}{（ ）|}", "{我国|中国|<zcountry>}{最早的|规定|现行的}<ztopic>{是|始于|期限为}", "某{患者|公司|企业|学生|单位}{发生|出现|需要}<ztopic>，{应首先|正确的做法是|最可能的原因是|该行为属于}{（ ）|}", "<zopt>与<zopt>的{区别|关系|共同点}{是|在于}{（ ）|}", "根据<zsub>{原理|规定|法}，<zopt>{应当|可以|不得}<zopt>{，除了|，因为|的是|}"]
S["texm"] = ["x^{<d>}", "\\frac{<d>}{<n>}", "\\ln x^<d>", "\\sqrt{x^<d>}", "\\mathrm{e}^{-x}", "\\alpha_<d>", "\\sin x", "A^T B^{-1}", "|A|", "P(A \\cup B)", "\\lim _{x \\rightarrow 0} f(x)", "\\int_0^<d> f(x) dx", "\\left|\\begin{array}{cc}a & 0 \\\\ 0 & b\\end{array}\\right|", "y^{\\prime}", "f(x, y)", "\\frac{\\partial z}{\\partial x}", "\\cdots", "X_1, X_2", "q_{<n>}^{(<d>)}", "{ }_<d> p_{<n>}", "\\sum_{n=1}^{\\infty} a_n", "\\lambda", "E(X)=<n>", "10^{-<d>}"]
S["texe"] = ["$<texm>$", "$<texm>{+|=|-| }<texm>$", "$<texm>{+|=}<texm>{-|+}<texm>$", "$\\left\\{\\begin{array}{l}<texm> \\\\ <texm>\\end{array}\\right.$"]
S["texq"] = ["{设|已知|若|对于|假设} <texe>{，|, |,}{且|其中|并且|} <texe>，{则|那么} <texe>{=|等于|的值是|=( )|} {( )|（ ）|( ).|()|}{。|}", "{微分方程|方程|曲线|函数|级数|矩阵|行列式} <texe> {的通解|的特解形式|的极限|的值|的收敛域|的秩|的导数}{为|是|等于} {( )|（ ）|( ).}", "{下列|以下}{各式|函数|命题|向量组|级数|事件}{中|，} {正确|收敛|线性无关|相同|相互独立}的是{（ ）|( ).|}", "{将|掷}一枚{硬币|骰子}{独立|重复}的掷<d>次，{事件|记} <texe>，则", "{某|一个}{随机变量|总体|保险|寿险模型} $X$ {服从|的生存函数为|满足} <texe>，{则|求} <texe>{=|为|（ ）}"]
S["texo"] = ["<texe>", "<texe>", "<x>", "$<n>$", "{充分|必要|充要}条件", "<texe> {为|是}<zopt>", "{可导|连续|不存在|极大值|线性相关}"]
S["unit"] = ["{不得少于|不超过|大于|约|第|}<n>{米|岁|天|周|年|%|元|%以上|个月|小时|mg|kV|万元|层|度}"]
S["zq2"] = ["{某|男性|女性|患者|一名工人}，<n>岁。{因|患|反复}<zopt>{<d>天|入院|术后}，{查体|检查|B超}{见|示}<zopt>，{首先考虑|最可能的诊断是|处理应是|最短时间是}", "{驾驶|机动车|车辆}{小型客车|在高速公路上|通过路口}{遇到|行驶|停车}{时|，}{应当|最小距离是|最高时速是|怎么做}{多少|}", "{使用|采用|应用}<ztopic>{编写的|得到的|进行的}{程序|文件|结果|方法}{称之为|叫做|属于}", "{由于|因为}<ztopic>{具有|存在}{多种功能|差异|特点}，{所以|因此}{应该|必须|可以}", "{美国|德国|法国|我国|中国}{著名的|古代的|现代的|}{政治学家|社会学家|学者|物理学家|教育家}<zopt>{提出的|认为|主张}<ztopic>{模式|理论|是}{是|}", "<n>{KV|W|℃|岁|年代}{以下|以上|左右|末}的<ztopic>{由|被|的}<zopt>{产生|决定|允许值为|引起的是}", "{下列|以下}{各项|选项|语句|算法|协议|设备|指标}{中|，}{属于|不属于|用于|可以}<ztopic>{内容|范围|方法|}的{有|是}", "{计算机|数据库|网络|程序|操作系统|神经网络}{中|里}{的|用来|}<zopt>{是|主要用于|称为|的作用是}{（ ）|}", "“<zopt>”{一词|一句|这种做法|现象}{出自|反映了|体现了|属于}", "{－|-|负}<x>{是|属于}", "{以下|下面}哪{个|一项|种}{不是|是|属于}<ztopic>{？|的优点|的要素|}", "{公司|企业|法人|行政机关|投保人}{以|对|将}<zopt>{用于|转让|提起}<zopt>，{应|可|不得|计入}{（ ）|____|}", "{20世纪|公元前|<year>年}<n>年代{末|初|}{提出|开始于|发生}的{是|}<ztopic>{运动|事件|}期间"]
S["zs"] = ["<zopt>{和|与|或}<zopt>", "<zopt>{的作用|的变化|的原因}", "{由|经|被}<zopt>{决定|影响|控制}", "<zopt>，<zopt>", "{属于|不属于}<zopt>", "为了<zopt>的{利益|发展|稳定}"]
S["zmath"] = ["{已知|设|若}{函数|随机变量|矩阵|数列}{$f(x)=<d>x+<n>$|$X$的均值为<n>|$A$的秩为<d>}，则{$f(<d>)$=|方差为|其值是}{（ ）|( )|}", "<zname>有<n><zitem>，用去<p>%，还剩{（ ）|}<zitem>", "{一个|⼀个}{圆|长方形|圆柱}的{半径|长}是<n>厘米，{面积|体积}是{（ ）|}", "{化简|计算}<d>:<d>的{比值|结果}是", "{极限|积分|概率}$\\int_0^<d> x dx$={( )|}", "某{企业|公司}资产<N>万元，负债<n>万元，{所有者权益|利润}为"]
# fmt: on

FAMILIES = {"code": CODE, "math": MATH, "qa": QA}
TOKEN = re.compile(r"<(\w+)>")


def _choice(rng, text):
    """Expands {a|b} choices, innermost first."""
    while True:
        m = re.search(r"\{([^{}]*\|[^{}]*)\}", text)
        if not m:
            return text
        text = text[: m.start()] + rng.choice(m.group(1).split("|")) + text[m.end() :]


def expand(rng, text, depth=0, slots=None):
    slots = S if slots is None else slots
    text = _choice(rng, text)

    def slot(m):
        s = slots.get(m.group(1))
        if s is None or depth > 5:
            return m.group(0)
        return s(rng) if callable(s) else expand(rng, rng.choice(s), depth + 1, slots)

    return TOKEN.sub(slot, text)


def noise(rng, text):
    """Now and then lower case, a typo, or no closing mark."""
    q = rng.random()
    if q < 0.06:
        text = text.lower()
    elif q < 0.10 and len(text) > 12:
        i = rng.randrange(1, len(text) - 2)
        if text[i].isalpha():
            text = rng.choice([text[:i] + text[i + 1 :], text[:i] + text[i + 1] + text[i] + text[i + 2 :]])
    elif q < 0.13:
        text = text.rstrip("?.。？")
    elif q < 0.15:
        text = rng.choice(["hi, ", "Hello! ", "please: ", "Q: ", "请问，", "你好，", "Thanks. "]) + text
    return text


def make(rng, label, split, family=None):
    """One generated request of a class."""
    families = FAMILIES[label]
    while True:
        f = family or rng.choice(sorted(families))
        text = noise(rng, expand(rng, rng.choice(families[f])))
        if (zlib.crc32(text.encode()) % 8 == 0) == (split == "test"):
            return text
