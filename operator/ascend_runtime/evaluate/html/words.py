"""What the report says, in English and Chinese: one entry for each sentence, with places for values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Words:
    """The report's words in one language."""

    language: str

    def __call__(self, key: str, **values: object) -> str:
        """Return a sentence with its values; raises KeyError for an unknown one."""
        return _WORDS[key][LANGUAGES.index(self.language)].format(**values)


_WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Evaluation of {target}", "{target} 评测报告"),
    "subtitle": (
        "{namespace}/{name}, run {run}, {time}",
        "{namespace}/{name}，第 {run} 次运行，{time}",
    ),
    "accepted": ("Accepted", "通过验收"),
    "notAccepted": ("Not accepted", "未通过验收"),
    "noCriteria": ("No acceptance criteria", "未设验收标准"),
    "footer": (
        "Written by ascend-jobs. The numbers behind this page are in metrics.json and the CSV files beside it.",
        "由 ascend-jobs 生成。本页数据见同一目录下的 metrics.json 和 CSV 文件。",
    ),
    # The summary, for people who read nothing else.
    "sayAccepted": (
        "All {count} acceptance criteria are met.",
        "{count} 项验收标准全部满足。",
    ),
    "sayNotAccepted": (
        "{bad} of {count} acceptance criteria are not met: {metrics}.",
        "{count} 项验收标准中有 {bad} 项未满足：{metrics}。",
    ),
    "sayScore": (
        "{suite}: {correct} of {total} questions answered right, that is {accuracy}. From so many questions "
        "the true value is known to lie between {low} and {high} (95 % certainty).",
        "{suite}：{total} 题答对 {correct} 题，准确率 {accuracy}。"
        "按同类题目推断，真实值在 {low} 与 {high} 之间（95 % 置信）。",
    ),
    "sayNoAnswer": (
        "{suite}: none of {total} requests was answered, so there is no accuracy.",
        "{suite}：{total} 个请求均无应答，因此没有准确率。",
    ),
    "sayFailed": (
        "{suite}: {failed} of {total} requests failed. They count as not right in the {accuracy} above; of the answers "
        "that came back {answered} are right.",
        "{suite}：{total} 个请求中有 {failed} 个失败。"
        "上面的 {accuracy} 把它们计为未答对；在已返回的回答中，{answered} 正确。",
    ),
    "sayBetter": (
        "{target} is better than {baseline}, and the difference is too large for chance.",
        "{target} 优于 {baseline}，差异超出偶然范围。",
    ),
    "sayWorse": (
        "{target} is worse than {baseline}, and the difference is too large for chance.",
        "{target} 不如 {baseline}，差异超出偶然范围。",
    ),
    "sayNoDifference": (
        "No difference between {target} and {baseline} was seen that is too large for chance.",
        "{target} 与 {baseline} 之间没有超出偶然范围的差异。",
    ),
    "sayLoad": (
        "With {load} requests at once, {throughput} tokens a second come out, and 99 of 100 first tokens arrive within "
        "{first} ms.",
        "并发 {load} 时，每秒生成 {throughput} 个 token，99 % 的首 token 在 {first} 毫秒内到达。",
    ),
    "saySaturation": (
        "Beyond {load} requests at once the service does not get faster, only answers take longer.",
        "并发超过 {load} 后吞吐不再提高，只是等待变长。",
    ),
    "sayLoadFailed": (
        "Under load {failed} of {total} requests failed; they are in no average.",
        "压测中 {total} 个请求有 {failed} 个失败，不计入任何平均值。",
    ),
    "sayCommand": (
        "{suite}: {count} numbers came from the command of this suite.",
        "{suite}：该评测命令给出 {count} 个数值。",
    ),
    # Headings and tables.
    "acceptance": ("Acceptance", "验收"),
    "metric": ("Metric", "指标"),
    "value": ("Value", "数值"),
    "verdict": ("Verdict", "结论"),
    "asked": ("Asked for", "要求"),
    "reference": ("Before", "对照值"),
    "drop": ("drop ≤ {most}", "下降 ≤ {most}"),
    "near": ("not measured; perhaps {names}", "未测得；相近名称：{names}"),
    "met": ("met", "满足"),
    "notMet": ("not met", "未满足"),
    "suite": ("Suite {suite}", "评测集 {suite}"),
    "part": ("Part", "部分"),
    "all": ("All questions", "全部题目"),
    "questions": ("Questions", "题数"),
    "correct": ("Right", "答对"),
    "failed": ("Failed requests", "失败请求"),
    "unread": ("Unreadable answers", "无法识别的回答"),
    "accuracy": ("Accuracy", "准确率"),
    "answeredAccuracy": ("of answered", "占已返回"),
    "interval": ("95 % interval", "95 % 区间"),
    "accuracyHow": (
        "Accuracy is right answers / all questions, as MindIE's benchmark counts; failed requests are none of the "
        "right ones and are shown apart. “Of answered” leaves them out.",
        "准确率 = 答对题数 / 全部题数，与 MindIE benchmark 的算法一致；"
        "失败的请求不算答对，并单独列出。“占已返回”一列不含失败请求。",
    ),
    "accuracyPlot": (
        "Accuracy by subject, with the number of questions.",
        "各学科准确率，括号内为题数。",
    ),
    "noLogprobs": (
        "The server gave no log probabilities, so there are no ROC curves.",
        "服务端未返回对数概率，因此没有 ROC 曲线。",
    ),
    "noChat": (
        "The model takes no chat messages (it has no chat template), so it was given plain text to continue.",
        "模型不接受对话消息（没有 chat template），因此以纯文本续写方式提问。",
    ),
    "classes": ("Precision, recall and F1 by class", "各类别的精确率、召回率与 F1"),
    "class": ("Class", "类别"),
    "precision": ("Precision", "精确率"),
    "recall": ("Recall", "召回率"),
    "support": ("Texts", "文本数"),
    "macro": ("Mean of the classes (macro)", "类别平均（macro）"),
    "micro": ("All decisions (micro)", "总体（micro）"),
    "confusionPlot": (
        "Right label (rows) against given label (columns); the last column counts answers that name no label.",
        "行为正确类别，列为模型给出的类别；最后一列为未给出任何类别的回答。",
    ),
    "given": ("Given", "给出"),
    "right": ("Right", "正确"),
    "none": ("none", "无"),
    "rocPlot": (
        "ROC curves from the probabilities of the option letters, each class against the rest; area in brackets.",
        "由选项字母概率得到的 ROC 曲线（一类对其余），括号内为曲线下面积。",
    ),
    "falsePositive": ("False positive rate", "假阳性率"),
    "truePositive": ("True positive rate", "真阳性率"),
    "wrongAnswers": ("Wrong answers: {shown} of {count}", "答错示例：{count} 个中的 {shown} 个"),
    "failedRequests": ("Failed requests: {shown} of {count}", "失败请求：{count} 个中的 {shown} 个"),
    "question": ("Question", "题目"),
    "rightAnswer": ("Right answer", "正确答案"),
    "answer": ("Answer of the model", "模型回答"),
    "takenFor": ("Taken for", "识别为"),
    "error": ("What happened", "错误"),
    "command": ("Numbers of {suite}", "{suite} 的数值"),
    "commandIgnored": (
        "Left out, since they are no numbers: {names}.",
        "以下项目不是数值，已忽略：{names}。",
    ),
    "comparison": ("Comparison with {baseline}", "与 {baseline} 的对比"),
    "comparisonHow": (
        "Both answered the same questions. Only questions that one of them has right and the other wrong tell them "
        "apart (McNemar's exact test); p below 0.05 means that chance alone would rarely do this. The interval is from "
        "a paired bootstrap with a fixed seed. “Needed” is how many questions would show a difference of the size seen "
        "with 80 % chance.",
        "双方回答相同的题目。只有一方答对而另一方答错的题目才能区分二者（McNemar 精确检验）；"
        "p 小于 0.05 表示很少能由偶然造成。"
        "区间来自固定随机种子的配对 bootstrap。“所需题数”指以 80 % 的把握看出这种大小的差异需要多少题。",
    ),
    "pairs": ("Both answered", "双方均返回"),
    "leftOut": ("Left out", "未计入"),
    "onlyTarget": ("Only {name} right", "仅 {name} 答对"),
    "difference": ("Difference", "差值"),
    "needed": ("Needed", "所需题数"),
    "pValue": ("p", "p 值"),
    "Better": ("Better", "更好"),
    "Worse": ("Worse", "更差"),
    "NoDifference": ("No difference seen", "未见差异"),
    "latency": (
        "Latency in ms. Cliff's delta is from -1 (always shorter) to 1 (always longer); below 0.147 it is negligible.",
        "延迟（毫秒）。Cliff's delta 从 -1（总是更短）到 1（总是更长），绝对值低于 0.147 可忽略。",
    ),
    "what": ("What", "项目"),
    "median": ("Median of {name}", "{name} 中位数"),
    "delta": ("Cliff's delta", "Cliff's delta"),
    "performance": ("Performance of {target}", "{target} 的性能"),
    "performanceHow": (
        "Failed requests are counted, and are in no average. The rows are those of MindIE's benchmark; “/” is what "
        "the server does not tell.",
        "失败的请求只计数，不计入任何平均值。表中各行与 MindIE benchmark 一致；“/”表示服务端未提供。",
    ),
    "perfTable": ("{name}: MindIE's performance table", "{name}：MindIE 性能指标表"),
    "common": ("{name}: MindIE's common table", "{name}：MindIE 通用指标表"),
    "load": ("Load", "负载"),
    "loadNames": (
        "c8 is 8 requests at once, r2 is 2 new requests a second.",
        "c8 表示并发 8，r2 表示每秒 2 个新请求。",
    ),
    "requests": ("Requests", "请求数"),
    "loadPlot": (
        "Throughput and P99 of the first token over the number of requests at once.",
        "吞吐与首 token 延迟（P99）随并发数的变化。",
    ),
    "concurrency": ("Requests at once", "并发数"),
    "tokensPerSecond": ("Tokens a second", "每秒 token 数"),
    "firstToken": ("First token P99, ms", "首 token P99（毫秒）"),
    "saturation": ("saturation", "饱和点"),
    "trend": ("Earlier runs", "历次运行"),
    "trendPlot": ("The main numbers of the last runs.", "最近各次运行的主要指标。"),
    "run": ("Run", "运行"),
    "method": ("What was measured, and how", "评测内容与方法"),
    "name": ("Name", "名称"),
    "target": ("Target", "评测对象"),
    "baseline": ("Baseline", "基线"),
    "model": ("Model", "模型"),
    "engine": ("Engine", "推理引擎"),
    "revision": ("Revision", "版本摘要"),
    "address": ("Address", "地址"),
    "started": ("Started", "开始时间"),
    "elapsed": ("Elapsed", "耗时"),
    "seconds": ("{seconds} s", "{seconds} 秒"),
    "suiteHow": (
        "{uri}: {type}, {count} questions, scoring {scoring}, {shots} worked examples, at most {tokens} tokens, "
        "{concurrency} at once, temperature 0",
        "{uri}：{type}，{count} 题，评分方式 {scoring}，{shots} 个示例，"
        "最多 {tokens} 个 token，并发 {concurrency}，temperature 0",
    ),
    "FIRST_LETTER": (
        "FirstLetter (the answer's first character that is no space is the right letter; MindIE's rule)",
        "FirstLetter（回答的第一个非空白字符等于正确选项字母，即 MindIE 的规则）",
    ),
    "LOG_LIKELIHOOD": (
        "LogLikelihood (the option letter that is likeliest as the next token)",
        "LogLikelihood（作为下一个 token 概率最大的选项字母）",
    ),
    "EXACT": (
        "Exact (the whole answer, but for case and spaces)",
        "Exact（整个回答一致，忽略大小写与空白）",
    ),
    "NUMBER": ("last number within 0.0001", "最后一个数字，误差不超过 0.0001"),
    "LABEL": ("label, by its letter or its words", "类别，按字母或名称识别"),
    "software": ("Software", "软件版本"),
}
