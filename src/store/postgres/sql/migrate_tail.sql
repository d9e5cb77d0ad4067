end
$migrate$
