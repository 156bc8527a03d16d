/**
 * What `trivec models check --dtype` compares precisions on: kinds, scripts and lengths of text that corpora hold. None
 * of them is among the texts that smoothing is measured on.
 */
export const CHECK_QUERIES = [
  'Which side effects does the new vaccine have?',
  'how do I cancel my subscription',
  'Wie hoch ist der Eiffelturm?',
] as const;

export const CHECK_TEXTS = [
  ...CHECK_QUERIES,
  'train tickets refund policy',
  'Yes.',
  'BM25',
  'The vaccine was well tolerated; the most common adverse reactions were pain at the injection site, fatigue and a mild fever, all of which resolved within two days.',
  'To cancel, open the account page, choose “Plan and billing” and confirm. Your data remain available for thirty days, after which they are deleted for good.',
  'Der Eiffelturm ist mit Antenne 330 Meter hoch. Er wurde von 1887 bis 1889 für die Weltausstellung errichtet und ist das Wahrzeichen von Paris.',
  'Photosynthesis converts carbon dioxide and water into sugar and oxygen, using the energy of light absorbed by chlorophyll in the chloroplasts of plant cells.',
  "SELECT customer_id, SUM(amount) AS total FROM orders WHERE created_at >= DATE '2024-01-01' GROUP BY customer_id HAVING SUM(amount) > 1000 ORDER BY total DESC;",
  'async function retry(task, attempts = 3) { for (let i = 0; ; i++) { try { return await task(); } catch (error) { if (i + 1 >= attempts) throw error; } } }',
  'Invoice no. 2024-0815, due 30.09.2024: 12 × A4 paper 80 g/m², €4.29 each, VAT 19 %, total €61.26. Please quote the number with your payment.',
  'In the second quarter revenue rose by 8 per cent to 412 million, while operating costs fell for the third time in a row; the board confirmed its forecast for the year.',
  'Le tribunal a rejeté la requête au motif que le délai de recours, fixé à deux mois à compter de la notification, était expiré à la date de son enregistrement.',
  'La receta lleva medio kilo de garbanzos, dos zanahorias, una cebolla y un poco de pimentón; se cuece todo a fuego lento durante dos horas y se sirve bien caliente.',
  'Небольшое судно вышло из порта на рассвете, но к полудню ветер усилился, и капитан решил вернуться под защиту скал.',
  'تأسست الجامعة في القرن التاسع عشر، وتضم اليوم أكثر من عشرين كلية وما يقارب أربعين ألف طالب من مختلف البلدان.',
  'この論文では、大規模な文書集合から関連する文を高速に検索するための新しい索引構造を提案し、その有効性を実験によって確かめる。',
  '董事会昨日宣布，公司将在未来三年内投资二十亿元，用于扩建位于苏州的研发中心，并新增约八百个工作岗位。',
  '서울의 지하철은 하루 평균 칠백만 명이 이용하며, 첫차는 새벽 다섯 시 반에 출발한다.',
  'हर साल मानसून के दौरान नदी का जलस्तर बढ़ जाता है, जिससे निचले इलाकों के गाँवों को खाली कराना पड़ता है।',
  'Chapter 7. Installing the package. Run the installer as root, answer the questions about the network, and reboot. If the boot loader reports that no system disk was found, check the order of the drives in the firmware, switch off the secure mode, and start again from the rescue medium. The log of the installation is kept in /var/log/installer; include it when you report a problem. Older kernels need the option acpi=off, and machines with less than 512 MB of memory should use the text interface instead of the graphical one.',
  'The hypothesis was tested in a randomised, double-blind trial with 1,204 participants at 31 centres. The primary end point, a composite of death, stroke and myocardial infarction, occurred in 9.3 per cent of the treated group and in 11.8 per cent of the placebo group (hazard ratio 0.78; 95 per cent confidence interval 0.64 to 0.95; P = 0.01). Serious adverse events were equally frequent. Benefit was largest in patients older than seventy and in those with impaired renal function, although the interaction was not significant after correction for multiple testing.',
] as const;
